"""The right names of authors: one name given, two people made one."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.catalogue import authors, models, search
from bookstore.catalogue.authors import Author
from bookstore.catalogue.validation import plain
from bookstore.database.tables import authors as table
from bookstore.database.tables import book_authors, books

NAME_LENGTH = 255


async def rename(
    conn: AsyncConnection, author_id: int, name: str, *, user_id: int, now: datetime
) -> Author:
    """Call an author by another name; where another author has it, the two become one.

    Their books change with them, so that forms opened before are told so.

    Raises:
        Invalid: this is no name.
        NotFound: there is no such author.
    """
    before = await authors.get(conn, author_id)
    name = plain("name", name, NAME_LENGTH)
    same = await conn.scalar(
        select(table.c.id)
        .where(table.c.name_key == authors.key(name), table.c.id != author_id)
        .with_for_update()
    )
    if name == before.name:
        return before
    ids = list(
        await conn.scalars(
            select(books.c.id)
            .where(
                books.c.id.in_(
                    select(book_authors.c.book_id).where(book_authors.c.author_id == author_id)
                )
            )
            .order_by(books.c.id)
            .with_for_update()
        )
    )
    if same is None:
        kept = author_id
        await conn.execute(
            update(table)
            .where(table.c.id == author_id)
            .values(name=name, name_key=authors.key(name))
        )
    else:
        kept = int(same)
        await _join(conn, author_id, kept)
    await conn.execute(
        update(books).where(books.c.id.in_(ids)).values(version=books.c.version + 1, updated_at=now)
    )
    await _index(conn, ids)
    told: dict[str, list[Any]] = {"name": [before.name, name]}
    if kept != author_id:
        told["joined_with"] = [None, str(kept)]
    await audit.record(conn, "change", "author", author_id, told, user_id=user_id, now=now)
    return await authors.get(conn, kept)


async def _join(conn: AsyncConnection, gone: int, kept: int) -> None:
    """Give one author's books to another; a book that both wrote is not written twice."""
    both = select(book_authors.c.book_id).where(book_authors.c.author_id == kept).subquery()
    await conn.execute(
        delete(book_authors).where(
            book_authors.c.author_id == gone,
            book_authors.c.book_id.in_(select(both.c.book_id)),
        )
    )
    await conn.execute(
        update(book_authors).where(book_authors.c.author_id == gone).values(author_id=kept)
    )
    await conn.execute(delete(table).where(table.c.id == gone))


async def _index(conn: AsyncConnection, ids: list[int]) -> None:
    """Let the books be found by the names that they have now."""
    rows = (await conn.execute(models.select_books().where(books.c.id.in_(ids)))).all()
    await search.index(
        conn,
        {book.id: search.Entry.of(book).words() for book in await models.load(conn, rows)},
    )
