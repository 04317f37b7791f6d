"""The e-mails list of the back office, with the status of each e-mail."""

from dataclasses import dataclass
from datetime import datetime
from operator import eq, ge
from typing import Any

from sqlalchemy import Select, or_, select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import notifications
from bookstore.backoffice import lists
from bookstore.backoffice.lists import List
from bookstore.database import pagination
from bookstore.database.tables import notifications as table
from bookstore.database.tables import orders, users
from bookstore.notifications import EmailStatus
from bookstore.notifications.emails import EmailKind
from bookstore.users.permissions import Permission

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


async def _select(conn: AsyncConnection, query: EmailListQuery) -> Select[Any]:
    found = lists.where(
        select(table.c.id),
        (table.c.status, eq, query.status),
        (table.c.kind, eq, query.kind),
        (table.c.created_at, ge, query.since),
    )
    if query.q:
        found = found.where(table.c.id.in_(await _matching(conn, query.q)))
    return found.where(table.c.in_doubt) if query.in_doubt else found


async def _matching(conn: AsyncConnection, q: str) -> list[int]:
    """The newest e-mails that match a search text, by their order and their user."""
    of_order = select(orders.c.id).where(
        or_(pagination.starts_with(orders.c.email, q), orders.c.number == q.upper())
    )
    of_user = select(users.c.id).where(pagination.starts_with(users.c.email_key, q.casefold()))
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


EMAILS = List(
    name="emails",
    query=EmailListQuery,
    select=_select,
    load=lists.by_ids(notifications.by_ids),
    id=table.c.id,
    sorts={"time": table.c.id, "state": table.c.status, "tries": table.c.attempts},
    default_sort="-time",
    columns={
        **lists.attributes("id", "kind", "subject", "recipient"),
        "order": "order_number",
        "status": "email_status",
        **lists.attributes("in_doubt", "attempts", "answer", "created_at", "sent_at"),
    },
    export_permission=Permission.EXPORT_ORDERS,
)
