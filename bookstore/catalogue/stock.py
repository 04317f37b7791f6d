"""Stock: how many copies of each book the store has, and the ledger of stock movements.

The stock of a book is the sum of its movements.  The order service moves the copies of orders, in
batches; this module is for all other movements.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.database.pagination import Page, SortOrder, select_page
from bookstore.database.tables import book_stock, books, stock_movements
from bookstore.errors import Invalid, NotFound, OutOfStock
from bookstore.stored_enum import StoredEnum


class StockReason(StoredEnum):
    """The reason of a stock movement."""

    RECEIVED = "received"
    DAMAGED = "damaged"
    COUNT = "count"
    RETURNED = "returned"
    SOLD = "sold"
    CANCELLED = "cancelled"


#: The reasons that staff may choose.  The others are set by the order service.
STAFF_REASONS = frozenset(
    {StockReason.RECEIVED, StockReason.DAMAGED, StockReason.COUNT, StockReason.RETURNED}
)
#: The upper limit for the stock of one book.  A larger number is a typing error.
MAX_QUANTITY = 1_000_000
#: The upper limit for a book's low-stock threshold.  With a higher one, the book would always be
#: low.
MAX_LOW_STOCK = 10_000
NOTE_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Movement:
    """One entry of the ledger; `delta` is negative if the stock decreased."""

    id: int
    book_id: int
    delta: int
    reason: StockReason
    order_id: int | None
    user_id: int | None
    note: str | None
    created_at: datetime


async def move(
    conn: AsyncConnection,
    book_id: int,
    delta: int,
    reason: StockReason,
    *,
    user_id: int | None = None,
    note: str | None = None,
    now: datetime,
) -> Movement:
    """Change the stock of a book by `delta` and record the movement in the ledger.

    Raises:
        Invalid: `delta` is 0, the stock would exceed `MAX_QUANTITY`, or the note is too long.
        NotFound: there is no such book.
        OutOfStock: the stock is too small for a negative `delta`.
    """
    if delta == 0:
        raise Invalid("delta", "The quantity must not be 0.")
    if abs(delta) > MAX_QUANTITY:
        raise Invalid("delta", f"The quantity must not be more than {MAX_QUANTITY}.")
    if note is not None and len(note) > NOTE_LENGTH:
        raise Invalid("note", f"A note has at most {NOTE_LENGTH} characters.")
    changed = await conn.execute(
        update(book_stock)
        .where(
            book_stock.c.book_id == book_id,
            (book_stock.c.stock + delta).between(0, MAX_QUANTITY),
        )
        .values(stock=book_stock.c.stock + delta)
    )
    if changed.rowcount == 0:
        current = await quantity(conn, book_id)
        if delta < 0:
            raise OutOfStock(book_id, current)
        raise Invalid("delta", f"The stock of a book cannot be more than {MAX_QUANTITY}.")
    columns: dict[str, Any] = {
        "book_id": book_id,
        "delta": delta,
        "reason": StockReason(reason),
        "order_id": None,
        "user_id": user_id,
        "note": note,
        "created_at": now,
    }
    inserted = await conn.execute(insert(stock_movements).values(columns))
    return Movement(id=inserted.lastrowid, **columns)


async def set_low_stock_threshold(
    conn: AsyncConnection, book_id: int, threshold: int | None, *, user_id: int, now: datetime
) -> None:
    """Set the number of copies from which on a book's stock is low; None is the store's default.

    Raises:
        Invalid: the threshold is negative or more than `MAX_LOW_STOCK`.
        NotFound: there is no such book.
    """
    if threshold is not None and not 0 <= threshold <= MAX_LOW_STOCK:
        raise Invalid("low_stock", f"Enter a number from 0 to {MAX_LOW_STOCK}, or leave it empty.")
    found = (
        await conn.execute(select(books.c.low_stock).where(books.c.id == book_id).with_for_update())
    ).one_or_none()
    if found is None:
        raise NotFound("This book")
    if found.low_stock != threshold:
        await conn.execute(update(books).where(books.c.id == book_id).values(low_stock=threshold))
        changes = {"low_stock": [found.low_stock, threshold]}
        await audit.record(conn, "change", "book", book_id, changes, user_id=user_id, now=now)


async def quantity(conn: AsyncConnection, book_id: int) -> int:
    """The stock of a book.

    Raises:
        NotFound: there is no such book.
    """
    found = await quantities(conn, [book_id])
    if book_id not in found:
        raise NotFound("This book")
    return found[book_id]


async def quantities(conn: AsyncConnection, book_ids: Collection[int]) -> dict[int, int]:
    """The stock of each of these books, read without a lock.

    Books that do not exist are missing from the result.
    """
    found = await conn.execute(
        select(book_stock.c.book_id, book_stock.c.stock).where(
            book_stock.c.book_id.in_(sorted(book_ids))
        )
    )
    return {row.book_id: row.stock for row in found}


async def movement(conn: AsyncConnection, movement_id: int) -> Movement:
    """One entry of the ledger.

    Raises:
        NotFound: there is no such movement.
    """
    query = select(stock_movements).where(stock_movements.c.id == movement_id)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise NotFound("This movement")
    return _movement(row)


async def movements(
    conn: AsyncConnection, book_id: int, *, cursor: str | None = None, limit: int = 20
) -> Page[Movement]:
    """A page of the ledger of one book, newest first."""
    query = select(stock_movements).where(stock_movements.c.book_id == book_id)
    newest_first = SortOrder((stock_movements.c.id,), descending=True)
    page = await select_page(conn, query, newest_first, cursor=cursor, limit=limit)
    return page.with_items([_movement(row) for row in page.items])


def _movement(row: Any) -> Movement:
    return Movement(**{**row._mapping, "reason": StockReason.stored(row.reason)})
