"""Unfinished work as staff list it: the dead letters, and what waits."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import tasks
from bookstore.desk import slices
from bookstore.desk.slices import Slice
from bookstore.tables import tasks as table
from bookstore.tasks import Row

SORTS: dict[str, ColumnElement[Any]] = {
    "since": table.c.id,
    "work": table.c.task,
    "tries": table.c.attempts,
}
OLDEST = "since"


@dataclass(frozen=True, slots=True)
class Query:
    """Which work: what was given up, or what waits."""

    parked: bool = True


async def find(
    conn: AsyncConnection, query: Query, *, sort: str, cursor: str | None, limit: int
) -> Slice[Row]:
    """Work that meets the query.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    by = slices.order(sort, SORTS, table.c.id, OLDEST)
    found = await slices.cut(conn, _filtered(query), by, cursor=cursor, limit=limit)
    return found.of([tasks.of_row(row) for row in found.items])


async def count(conn: AsyncConnection, query: Query, most: int = slices.COUNTED) -> int:
    """How much work meets the query, up to `most`."""
    return await slices.count(conn, _filtered(query), most)


def _filtered(query: Query) -> Select[Any]:
    given_up = table.c.parked_at.is_not(None)
    return select(table).where(given_up if query.parked else table.c.parked_at.is_(None))
