"""Letters as staff search them: what became of each."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, or_, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import notifications
from bookstore.database import list_pagination
from bookstore.database.list_pagination import Slice
from bookstore.database.tables import notifications as table
from bookstore.database.tables import orders, users
from bookstore.notifications import Notification, Status
from bookstore.notifications.emails import Kind

SORTS: dict[str, ColumnElement[object]] = {
    "time": table.c.id,
    "state": table.c.status,
    "tries": table.c.attempts,
}
NEWEST = "-time"
#: Of what a question finds, the newest so many are looked through further.
_FOUND = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which letters; all conditions have to hold, None is no condition.

    `q` is the beginning of an address, or an order's number.
    """

    q: str | None = None
    status: Status | None = None
    in_doubt: bool = False
    kind: Kind | None = None
    since: datetime | None = None


async def chosen(conn: AsyncConnection, query: Query) -> Select[tuple[int]]:
    """The ids of the letters that meet the query, for `find` and `count`."""
    found = select(table.c.id)
    if query.q:
        found = found.where(table.c.id.in_(await _matching(conn, query.q)))
    if query.status is not None:
        found = found.where(table.c.status == query.status)
    if query.in_doubt:
        found = found.where(table.c.in_doubt)
    if query.kind is not None:
        found = found.where(table.c.kind == query.kind)
    if query.since is not None:
        found = found.where(table.c.created_at >= query.since)
    return found


async def find(
    conn: AsyncConnection,
    ids: Select[tuple[int]],
    *,
    sort: str = NEWEST,
    cursor: str | None,
    limit: int,
) -> Slice[Notification]:
    """The letters that were `chosen`.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, NEWEST)
    found = await list_pagination.cut(conn, ids, by, cursor=cursor, limit=limit)
    rows = [row.id for row in found.items]
    return found.of(
        list_pagination.ordered(rows, await notifications.by_ids(conn, rows) if rows else {})
    )


async def count(
    conn: AsyncConnection, ids: Select[tuple[int]], most: int = list_pagination.COUNTED
) -> int:
    """How many were `chosen`, up to `most`."""
    return await list_pagination.count(conn, ids, most)


async def _matching(conn: AsyncConnection, q: str) -> list[int]:
    """The newest letters that a question may mean, by the orders and users that they went to."""
    of_order = select(orders.c.id).where(
        or_(list_pagination.begins(orders.c.email, q), orders.c.number == q.upper())
    )
    of_user = select(users.c.id).where(list_pagination.begins(users.c.email_key, q.casefold()))
    newest = [
        select(
            select(table.c.id).where(way).order_by(table.c.id.desc()).limit(_FOUND).subquery().c.id
        )
        for way in (table.c.order_id.in_(of_order), table.c.user_id.in_(of_user))
    ]
    return list(await conn.scalars(union(*newest)))
