"""Unfinished work as staff list it: the dead letters, and what waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import list_pagination
from bookstore.database.list_pagination import Slice
from bookstore.database.tables import notifications, orders
from bookstore.database.tables import tasks as table
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Row, Task

SORTS: dict[str, ColumnElement[Any]] = {
    "since": table.c.id,
    "work": table.c.task,
    "tries": table.c.attempts,
}
OLDEST = "since"


@dataclass(frozen=True, slots=True)
class Query:
    """Which work: what was given up, or what waits."""

    dead: bool = True


async def find(
    conn: AsyncConnection, query: Query, *, sort: str, cursor: str | None, limit: int
) -> Slice[Row]:
    """Work that meets the query.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, OLDEST)
    found = await list_pagination.cut(conn, _filtered(query), by, cursor=cursor, limit=limit)
    return found.of([outbox.of_row(row) for row in found.items])


async def count(conn: AsyncConnection, query: Query, most: int = list_pagination.COUNTED) -> int:
    """How much work meets the query, up to `most`."""
    return await list_pagination.count(conn, _filtered(query), most)


def _filtered(query: Query) -> Select[Any]:
    given_up = table.c.dead_at.is_not(None)
    return select(table).where(given_up if query.dead else table.c.dead_at.is_(None))


@dataclass(frozen=True, slots=True)
class Subject:
    """What a task is about."""

    order_number: str | None
    notification_id: int | None


async def subjects(conn: AsyncConnection, rows: Sequence[Row]) -> dict[int, Subject]:
    """What each of these tasks is about, by the tasks' ids."""
    order_ids = {row.ref_id for row in rows if row.task is Task.PROCESS_ORDERS}
    letter_ids = {row.ref_id for row in rows if row.task is Task.SEND_NOTIFICATIONS}
    numbers: dict[tuple[Task, int], str] = {}
    if order_ids:
        found = await conn.execute(
            select(orders.c.id, orders.c.number).where(orders.c.id.in_(order_ids))
        )
        numbers |= {(Task.PROCESS_ORDERS, row.id): row.number for row in found}
    if letter_ids:
        found = await conn.execute(
            select(notifications.c.id, orders.c.number)
            .join(orders, orders.c.id == notifications.c.order_id)
            .where(notifications.c.id.in_(letter_ids))
        )
        numbers |= {(Task.SEND_NOTIFICATIONS, row.id): row.number for row in found}
    return {
        row.id: Subject(
            numbers.get((row.task, row.ref_id)),
            row.ref_id if row.task is Task.SEND_NOTIFICATIONS else None,
        )
        for row in rows
    }
