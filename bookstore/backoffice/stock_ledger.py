"""The stock ledger of one book as staff list it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue.stock import Reason
from bookstore.database import list_pagination
from bookstore.database.list_pagination import Slice
from bookstore.database.tables import orders, users
from bookstore.database.tables import stock_movements as table

SORTS: dict[str, ColumnElement[Any]] = {
    "when": table.c.id,
    "why": table.c.reason,
    "copies": table.c.delta,
}
NEWEST = "-when"


@dataclass(frozen=True, slots=True)
class Query:
    """Which lines of the ledger: all of a book."""

    book_id: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger: `delta` copies came, or left the shelf where it is negative.

    They went with an order, or a member of the staff moved them; else the store itself did.
    """

    at: datetime
    reason: Reason
    delta: int
    note: str | None
    order_number: str | None
    user_name: str | None


async def find(
    conn: AsyncConnection, query: Query, *, sort: str, cursor: str | None, limit: int
) -> Slice[Entry]:
    """The lines of a book's ledger.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, NEWEST)
    wanted = (
        _filtered(query)
        .add_columns(
            table.c.created_at.label("at"),
            table.c.reason,
            table.c.delta,
            table.c.note,
            orders.c.number.label("order_number"),
            users.c.name.label("user_name"),
        )
        .outerjoin_from(table, orders, orders.c.id == table.c.order_id)
        .outerjoin(users, users.c.id == table.c.user_id)
    )
    found = await list_pagination.cut(conn, wanted, by, cursor=cursor, limit=limit)
    return found.of(
        [
            Entry(
                row.at,
                Reason.stored(row.reason),
                row.delta,
                row.note,
                row.order_number,
                row.user_name,
            )
            for row in found.items
        ]
    )


async def count(conn: AsyncConnection, query: Query, most: int = list_pagination.COUNTED) -> int:
    """How many lines there are, up to `most`."""
    return await list_pagination.count(conn, _filtered(query), most)


def _filtered(query: Query) -> Select[Any]:
    return select(table.c.id).where(table.c.book_id == query.book_id)
