"""The e-mails list of the back office, with the status of each e-mail."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, or_, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import notifications
from bookstore.database import list_pagination
from bookstore.database.list_pagination import ListPage
from bookstore.database.tables import notifications as table
from bookstore.database.tables import orders, users
from bookstore.notifications import EmailStatus, Notification
from bookstore.notifications.emails import EmailKind

SORTS: dict[str, ColumnElement[object]] = {
    "time": table.c.id,
    "state": table.c.status,
    "tries": table.c.attempts,
}
NEWEST = "-time"
#: The most e-mails that a search text may match; the newest ones are kept.
_MAX_MATCHES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailListQuery:
    """Filters for e-mails, combined with AND; None means no filter.

    `q` is the prefix of an e-mail address, or an order number.
    """

    q: str | None = None
    status: EmailStatus | None = None
    in_doubt: bool = False
    kind: EmailKind | None = None
    since: datetime | None = None


async def select_ids(conn: AsyncConnection, query: EmailListQuery) -> Select[tuple[int]]:
    """A query for the ids of the matching e-mails, for `find` and `count`."""
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
) -> ListPage[Notification]:
    """The e-mails with these ids.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, NEWEST)
    found = await list_pagination.select_page(conn, ids, by, cursor=cursor, limit=limit)
    rows = [row.id for row in found.items]
    return found.with_items(
        list_pagination.in_order(rows, await notifications.by_ids(conn, rows) if rows else {})
    )


async def count(
    conn: AsyncConnection, ids: Select[tuple[int]], up_to: int = list_pagination.MAX_COUNT
) -> int:
    """How many e-mails have these ids, at most `up_to`."""
    return await list_pagination.count(conn, ids, up_to)


async def _matching(conn: AsyncConnection, q: str) -> list[int]:
    """The newest e-mails that match a search text, by their order and their user."""
    of_order = select(orders.c.id).where(
        or_(list_pagination.starts_with(orders.c.email, q), orders.c.number == q.upper())
    )
    of_user = select(users.c.id).where(list_pagination.starts_with(users.c.email_key, q.casefold()))
    newest = [
        select(
            select(table.c.id)
            .where(condition)
            .order_by(table.c.id.desc())
            .limit(_MAX_MATCHES)
            .subquery()
            .c.id
        )
        for condition in (table.c.order_id.in_(of_order), table.c.user_id.in_(of_user))
    ]
    return list(await conn.scalars(union(*newest)))
