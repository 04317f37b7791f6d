"""The stock ledger of one book as a list of the back office."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.backoffice import lists
from bookstore.backoffice.lists import List
from bookstore.catalogue.stock import StockReason
from bookstore.database.tables import orders, users
from bookstore.database.tables import stock_movements as table
from bookstore.users.permissions import Permission


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


async def _select(conn: AsyncConnection, query: LedgerQuery) -> Select[Any]:
    return (
        select(
            table.c.created_at.label("at"),
            table.c.reason,
            table.c.delta,
            table.c.note,
            orders.c.number.label("order_number"),
            users.c.name.label("user_name"),
        )
        .outerjoin_from(table, orders, orders.c.id == table.c.order_id)
        .outerjoin(users, users.c.id == table.c.user_id)
        .where(table.c.book_id == query.book_id)
    )


def _entry(row: Any) -> LedgerEntry:
    reason = StockReason.stored(row.reason)
    return LedgerEntry(row.at, reason, row.delta, row.note, row.order_number, row.user_name)


LEDGER = List(
    name="stock",
    query=LedgerQuery,
    select=_select,
    load=lists.each(_entry),
    id=table.c.id,
    sorts={"when": table.c.id, "why": table.c.reason, "quantity": table.c.delta},
    default_sort="-when",
    columns={
        "at": "at",
        "reason": "reason",
        "quantity": "delta",
        "order": "order_number",
        "who": "user_name",
        "note": "note",
    },
    export_permission=Permission.EXPORT_BOOKS,
)
