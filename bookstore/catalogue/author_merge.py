"""Renaming authors, and merging two authors that are the same person."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.catalogue import authors, models, search
from bookstore.catalogue.authors import Author
from bookstore.catalogue.validation import single_line
from bookstore.database.tables import authors as table
from bookstore.database.tables import book_authors, books

NAME_LENGTH = 255


async def rename(
    conn: AsyncConnection, author_id: int, name: str, *, user_id: int, now: datetime
) -> Author:
    """Rename an author.  If another author already has the name, the two are merged.

    Returns the renamed or merged author.  The versions of the author's books increase, so that a
    form opened before the change is rejected as stale.

    Raises:
        Invalid: the name is not valid.
        NotFound: there is no such author.
    """
    before = await authors.get(conn, author_id)
    name = single_line("name", name, NAME_LENGTH)
    same = await conn.scalar(
        select(table.c.id)
        .where(table.c.identity_key == authors.key(name), table.c.id != author_id)
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
        remaining_id = author_id
        await conn.execute(
            update(table)
            .where(table.c.id == author_id)
            .values(
                name=name,
                name_key=authors.sort_key(name),
                identity_key=authors.key(name),
            )
        )
    else:
        remaining_id = int(same)
        await _merge(conn, author_id, remaining_id)
    await conn.execute(
        update(books).where(books.c.id.in_(ids)).values(version=books.c.version + 1, updated_at=now)
    )
    await _index(conn, ids)
    changes: dict[str, list[Any]] = {"name": [before.name, name]}
    if remaining_id != author_id:
        changes["joined_with"] = [None, str(remaining_id)]
    await audit.record(conn, "change", "author", author_id, changes, user_id=user_id, now=now)
    return await authors.get(conn, remaining_id)


async def _merge(conn: AsyncConnection, source_id: int, target_id: int) -> None:
    """Move all books from one author to another and delete the first.

    A book that names both authors lists the target once.
    """
    both = select(book_authors.c.book_id).where(book_authors.c.author_id == target_id).subquery()
    await conn.execute(
        delete(book_authors).where(
            book_authors.c.author_id == source_id,
            book_authors.c.book_id.in_(select(both.c.book_id)),
        )
    )
    await conn.execute(
        update(book_authors)
        .where(book_authors.c.author_id == source_id)
        .values(author_id=target_id)
    )
    await conn.execute(delete(table).where(table.c.id == source_id))


async def _index(conn: AsyncConnection, ids: list[int]) -> None:
    """Update the search index of these books with the new author names."""
    rows = (await conn.execute(models.select_books().where(books.c.id.in_(ids)))).all()
    await search.index(
        conn,
        {book.id: search.SearchEntry.of(book).words() for book in await models.load(conn, rows)},
    )
