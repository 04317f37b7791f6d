"""A database with another default character set, such as latin1 of older servers."""

import pytest
from sqlalchemy import select

from bookstore.database.engine import make_engine, reading, transaction, upgrade
from bookstore.database.tables import books
from tests.factories import create_book

NAME = "latin1_store"


@pytest.mark.timeout(240)
async def test_texts_of_all_scripts_are_stored_and_found(mariadb):
    with mariadb.connect() as conn, conn.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {NAME} CHARACTER SET latin1")
    engine = make_engine(mariadb.url(NAME), timeout_s=60)
    try:
        await upgrade(engine)
        async with transaction(engine) as conn:
            made = [
                await create_book(conn, title=title, authors=[author])
                for title, author in (("Война и мир", "Лев Толстой"), ("三体", "刘慈欣"))
            ]
        async with reading(engine) as conn:
            titles = list(await conn.scalars(select(books.c.title).order_by(books.c.id)))
    finally:
        await engine.dispose()
        with mariadb.connect() as conn, conn.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {NAME}")

    assert titles == ["Война и мир", "三体"]
    assert [book.authors[0].name for book in made] == ["Лев Толстой", "刘慈欣"]
