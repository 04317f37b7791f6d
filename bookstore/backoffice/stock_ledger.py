"""The stock ledger of one book as a list of the back office."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue.stock import StockReason
from bookstore.database import list_pagination
from bookstore.database.list_pagination import ListPage
from bookstore.database.tables import orders, users
from bookstore.database.tables import stock_movements as table

SORTS: dict[str, ColumnElement[Any]] = {
    "when": table.c.id,
    "why": table.c.reason,
    "quantity": table.c.delta,
}
NEWEST = "-when"


@dataclass(frozen=True, slots=True)
class LedgerQuery:
    """A filter for entries of the ledger: all entries of one book."""

    book_id: int


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """An entry of the ledger: the stock changed by `delta`, which is negative for a decrease.

    It has an order's number or a staff member's name; neither means that the program changed the
    stock itself.
    """

    at: datetime
    reason: StockReason
    delta: int
    note: str | None
    order_number: str | None
    user_name: str | None


async def find(
    conn: AsyncConnection, query: LedgerQuery, *, sort: str, cursor: str | None, limit: int
) -> ListPage[LedgerEntry]:
    """The entries of a book's ledger.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, NEWEST)
    selected = (
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
    found = await list_pagination.select_page(conn, selected, by, cursor=cursor, limit=limit)
    return found.with_items(
        [
            LedgerEntry(
                row.at,
                StockReason.stored(row.reason),
                row.delta,
                row.note,
                row.order_number,
                row.user_name,
            )
            for row in found.items
        ]
    )


async def count(
    conn: AsyncConnection, query: LedgerQuery, up_to: int = list_pagination.MAX_COUNT
) -> int:
    """How many entries match the query, at most `up_to`."""
    return await list_pagination.count(conn, _filtered(query), up_to)


def _filtered(query: LedgerQuery) -> Select[Any]:
    return select(table.c.id).where(table.c.book_id == query.book_id)
