"""Copies in and out: what is on the shelf, and the ledger that says why.

The sum of a book's movements is its stock.  Copies that orders take and give back are
moved by the order service, many at once; this is for everything else.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.database.pagination import Page, decode, encode
from bookstore.database.tables import book_stock, books, stock_movements
from bookstore.errors import Invalid, NotFound, OutOfStock
from bookstore.stored_enum import StoredEnum


class Reason(StoredEnum):
    """Why copies came or went."""

    RECEIVED = "received"
    DAMAGED = "damaged"
    COUNT = "count"
    RETURNED = "returned"
    SOLD = "sold"
    CANCELLED = "cancelled"


#: The reasons that staff may give; the others belong to orders.
BY_HAND = frozenset({Reason.RECEIVED, Reason.DAMAGED, Reason.COUNT, Reason.RETURNED})
#: More copies of one book are a slip of the finger.
MOST = 1_000_000
#: A shelf that is low with more copies than this never is anything else.
MOST_LOW = 10_000
NOTE_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Movement:
    """One line of the ledger; `delta` is negative when copies left the shelf."""

    id: int
    book_id: int
    delta: int
    reason: Reason
    order_id: int | None
    user_id: int | None
    note: str | None
    created_at: datetime


async def move(
    conn: AsyncConnection,
    book_id: int,
    delta: int,
    reason: Reason,
    *,
    user_id: int | None = None,
    note: str | None = None,
    now: datetime,
) -> Movement:
    """Put copies on the shelf or take them from it, and write down why.

    Raises:
        Invalid: `delta` is 0, or there would be more than `MOST` copies; or the note is too long.
        NotFound: there is no such book.
        OutOfStock: fewer copies are there than should be taken.
    """
    if delta == 0:
        raise Invalid("delta", "A movement of no copies is none.")
    if abs(delta) > MOST:
        raise Invalid("delta", f"At most {MOST} copies move at once.")
    if note is not None and len(note) > NOTE_LENGTH:
        raise Invalid("note", f"A note has at most {NOTE_LENGTH} characters.")
    changed = await conn.execute(
        update(book_stock)
        .where(
            book_stock.c.book_id == book_id,
            (book_stock.c.stock + delta).between(0, MOST),
        )
        .values(stock=book_stock.c.stock + delta)
    )
    if changed.rowcount == 0:
        left = await of(conn, book_id)
        if delta < 0:
            raise OutOfStock(book_id, left)
        raise Invalid("delta", f"There would be more than {MOST} copies of this book.")
    facts: dict[str, Any] = {
        "book_id": book_id,
        "delta": delta,
        "reason": Reason(reason),
        "order_id": None,
        "user_id": user_id,
        "note": note,
        "created_at": now,
    }
    inserted = await conn.execute(insert(stock_movements).values(facts))
    return Movement(id=inserted.lastrowid, **facts)


async def set_low(
    conn: AsyncConnection, book_id: int, copies: int | None, *, user_id: int, now: datetime
) -> None:
    """Say from how many copies on a book is low; None: as the store's other books.

    Raises:
        Invalid: nobody has so many copies, or fewer than none.
        NotFound: there is no such book.
    """
    if copies is not None and not 0 <= copies <= MOST_LOW:
        raise Invalid("low_stock", f"Type a number up to {MOST_LOW}, or nothing.")
    found = (
        await conn.execute(select(books.c.low_stock).where(books.c.id == book_id).with_for_update())
    ).one_or_none()
    if found is None:
        raise NotFound("This book")
    if found.low_stock != copies:
        await conn.execute(update(books).where(books.c.id == book_id).values(low_stock=copies))
        told = {"low_stock": [found.low_stock, copies]}
        await audit.record(conn, "change", "book", book_id, told, user_id=user_id, now=now)


async def of(conn: AsyncConnection, book_id: int) -> int:
    """How many copies of a book are on the shelf.

    Raises:
        NotFound: there is no such book.
    """
    shelf = await look(conn, [book_id])
    if book_id not in shelf:
        raise NotFound("This book")
    return shelf[book_id]


async def look(conn: AsyncConnection, book_ids: Collection[int]) -> dict[int, int]:
    """How many copies of each of these books are on the shelf, without a lock."""
    found = await conn.execute(
        select(book_stock.c.book_id, book_stock.c.stock).where(
            book_stock.c.book_id.in_(sorted(book_ids))
        )
    )
    return {row.book_id: row.stock for row in found}


async def movement(conn: AsyncConnection, movement_id: int) -> Movement:
    """One line of the ledger.

    Raises:
        NotFound: there is no such movement.
    """
    asked = select(stock_movements).where(stock_movements.c.id == movement_id)
    row = (await conn.execute(asked)).one_or_none()
    if row is None:
        raise NotFound("This movement")
    return _movement(row)


async def movements(
    conn: AsyncConnection, book_id: int, *, cursor: str | None = None, limit: int = 20
) -> Page[Movement]:
    """The ledger of one book, newest first."""
    query = (
        select(stock_movements)
        .where(stock_movements.c.book_id == book_id)
        .order_by(stock_movements.c.id.desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        query = query.where(stock_movements.c.id < decode(cursor, [int])[0])
    found = [_movement(row) for row in await conn.execute(query)]
    more = len(found) > limit
    return Page(found[:limit], encode(found[limit - 1].id) if more else None)


def _movement(row: Any) -> Movement:
    return Movement(**{**row._mapping, "reason": Reason.stored(row.reason)})
