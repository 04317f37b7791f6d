"""Editions: books that are the same work, in another format, language or year.

Books with the same number in `editions` belong together; a book without a row stands alone.
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

#: More than the Bible has in a large store.
MOST = 200


async def of(conn: AsyncConnection, book_id: int) -> list[Book]:
    """The other editions of a book that are sold, the newest first.

    Raises:
        NotFound: there is no such book, or it is withdrawn.
    """
    await books.get(conn, book_id)
    others = (await _works(conn, {book_id})).get(book_id, set()) - {book_id}
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
    """Let the book and these others be the editions of one work, and no further ones.

    A book that is named leaves the work that it was in.  Those that are named no more stay
    together without this book.

    Raises:
        NotFound: there is no such book, or it is withdrawn.
        Stale: the book is not at `version` any more.
        Invalid: another is not in the catalogue, or there are more than `MOST`.
    """
    work = {book_id, *others}
    if len(work) > MOST:
        raise Invalid("book_ids", f"A work has at most {MOST} editions.")
    await _refuse_unknown(conn, work - {book_id})
    await books.touch(conn, book_id, version, now=now)
    works = await _works(conn, work)
    before = works.get(book_id, {book_id})
    if before == work:
        return
    left = {frozenset(members - work) for members in works.values()}
    gone = set().union(*works.values())
    await conn.execute(delete(editions).where(editions.c.book_id.in_(sorted(gone))))
    for members in sorted((work, *left), key=sorted):
        if len(members) > 1:
            first = min(members)
            rows = [{"book_id": member, "work_id": first} for member in sorted(members)]
            await conn.execute(insert(editions), rows)
    told = {"editions": [sorted(before - {book_id}), sorted(work - {book_id})]}
    await audit.record(conn, "change", "book", book_id, told, user_id=user_id, now=now)


async def _works(conn: AsyncConnection, book_ids: Collection[int]) -> dict[int, set[int]]:
    """The work of each of these books that is in one, as the ids of all its editions."""
    mine = editions.alias("mine")
    found = await conn.execute(
        select(mine.c.book_id.label("asked"), editions.c.book_id)
        .join(editions, editions.c.work_id == mine.c.work_id)
        .where(mine.c.book_id.in_(sorted(book_ids)))
    )
    works: dict[int, set[int]] = {}
    for row in found:
        works.setdefault(row.asked, set()).add(row.book_id)
    return works


async def _refuse_unknown(conn: AsyncConnection, book_ids: Collection[int]) -> None:
    asked = select(book_rows.c.id).where(
        book_rows.c.id.in_(sorted(book_ids)), book_rows.c.withdrawn_at.is_(None)
    )
    known = set((await conn.execute(asked)).scalars())
    for book_id in sorted(set(book_ids) - known):
        raise Invalid("book_ids", f"There is no book {book_id}.")
