"""What the store's pages ask of the catalogue, beside lists and single books."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import records
from bookstore.records import Book
from bookstore.tables import books


class LanguageCount(NamedTuple):
    """A language (BCP 47) and how many of the books that are sold are in it."""

    tag: str
    book_count: int


async def by_ids(conn: AsyncConnection, book_ids: Collection[int]) -> dict[int, Book]:
    """These books, withdrawn ones too; what is not there is left out."""
    if not book_ids:
        return {}
    query = records.select_books().where(books.c.id.in_(sorted(book_ids)))
    rows = (await conn.execute(query)).all()
    return {book.id: book for book in await records.load(conn, rows)}


async def languages(conn: AsyncConnection) -> list[LanguageCount]:
    """In which languages there are books, the commonest first."""
    found = await conn.execute(
        select(books.c.language, func.count().label("book_count"))
        .where(books.c.withdrawn_at.is_(None), books.c.language.is_not(None))
        .group_by(books.c.language)
        .order_by(func.count().desc(), books.c.language)
    )
    return [LanguageCount(row.language, row.book_count) for row in found]
