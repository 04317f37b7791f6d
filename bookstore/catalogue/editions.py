"""Editions: books that are the same work in another format, language or year.

Books with the same `work_id` in `editions` are editions of one work.  A book without a row has no
other editions.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.catalogue import books, models
from bookstore.catalogue.models import Book
from bookstore.database.tables import books as book_rows
from bookstore.database.tables import editions
from bookstore.errors import Invalid

#: An upper limit: in a large store, even the Bible has fewer editions.
MAX_EDITIONS = 200


async def find_others(conn: AsyncConnection, book_id: int) -> list[Book]:
    """The other editions of a book that are on sale, the newest first.

    Raises:
        NotFound: there is no such book, or it is withdrawn.
    """
    await books.get(conn, book_id)
    others = (await _works_of(conn, {book_id})).get(book_id, set()) - {book_id}
    if not others:
        return []
    found = await conn.execute(
        models.select_books()
        .where(book_rows.c.id.in_(sorted(others)), book_rows.c.withdrawn_at.is_(None))
        .order_by(book_rows.c.year.desc(), book_rows.c.id.desc())
    )
    return await models.load(conn, found.all())


async def link(
    conn: AsyncConnection,
    book_id: int,
    version: int,
    others: Collection[int],
    *,
    user_id: int | None,
    now: datetime,
) -> None:
    """Make the book and `others` the only editions of one work.

    A book in `others` leaves its previous work.  The books that are removed from this book's work
    remain editions of each other.

    Raises:
        NotFound: there is no such book, or it is withdrawn.
        Stale: the book is no longer at `version`.
        Invalid: one of `others` is not on sale, or there are more than `MAX_EDITIONS`.
    """
    work = {book_id, *others}
    if len(work) > MAX_EDITIONS:
        raise Invalid("book_ids", f"A work has at most {MAX_EDITIONS} editions.")
    await _check_books_exist(conn, work - {book_id})
    await books.touch(conn, book_id, version, now=now)
    works = await _works_of(conn, work)
    before = works.get(book_id, {book_id})
    if before == work:
        return
    remaining = {frozenset(members - work) for members in works.values()}
    affected = set().union(*works.values())
    await conn.execute(delete(editions).where(editions.c.book_id.in_(sorted(affected))))
    for members in sorted((work, *remaining), key=sorted):
        if len(members) > 1:
            first = min(members)
            rows = [{"book_id": member, "work_id": first} for member in sorted(members)]
            await conn.execute(insert(editions), rows)
    changes = {"editions": [sorted(before - {book_id}), sorted(work - {book_id})]}
    await audit.record(conn, "change", "book", book_id, changes, user_id=user_id, now=now)


async def _works_of(conn: AsyncConnection, book_ids: Collection[int]) -> dict[int, set[int]]:
    """For each of these books that belongs to a work: the ids of all editions of that work."""
    requested = editions.alias("requested")
    found = await conn.execute(
        select(requested.c.book_id.label("requested_id"), editions.c.book_id)
        .join(editions, editions.c.work_id == requested.c.work_id)
        .where(requested.c.book_id.in_(sorted(book_ids)))
    )
    works: dict[int, set[int]] = {}
    for row in found:
        works.setdefault(row.requested_id, set()).add(row.book_id)
    return works


async def _check_books_exist(conn: AsyncConnection, book_ids: Collection[int]) -> None:
    query = select(book_rows.c.id).where(
        book_rows.c.id.in_(sorted(book_ids)), book_rows.c.withdrawn_at.is_(None)
    )
    existing = set((await conn.execute(query)).scalars())
    for book_id in sorted(set(book_ids) - existing):
        raise Invalid("book_ids", f"There is no book {book_id}.")
