"""The audit log as staff read it: who changed what."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.audit import AuditAction
from bookstore.database import list_pagination
from bookstore.database.list_pagination import ListPage
from bookstore.database.tables import audit_log, users


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the audit log.

    `changes` maps a field to `[before, after]`, or to None for personal data.
    """

    id: int
    at: datetime
    user_id: int | None
    user_name: str | None
    action: AuditAction
    object_type: str
    object_id: str
    changes: dict[str, Any]
    #: The client's network address; None for the command line.
    address: str | None


_AUDITED = ("id", "at", "user_id", "action", "object_type", "object_id", "changes", "address")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Filters for changes, combined with AND; None means no filter."""

    object_type: str | None = None
    object_id: str | None = None
    user_id: int | None = None
    action: str | None = None
    since: datetime | None = None


#: The columns by which changes can be sorted.
AUDIT_SORTS = {"time": audit_log.c.id}


LATEST = "-time"


async def audit(
    conn: AsyncConnection,
    filters: AuditQuery | None = None,
    *,
    sort: str = LATEST,
    cursor: str | None = None,
    limit: int = 25,
) -> ListPage[AuditEntry]:
    """The changes that match the filters, by default the newest first.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    query = _audited(filters or AuditQuery())
    by = list_pagination.order(sort, AUDIT_SORTS, audit_log.c.id, LATEST)
    found = await list_pagination.select_page(conn, query, by, cursor=cursor, limit=limit)
    return found.with_items(
        [
            AuditEntry(
                user_name=row.user_name,
                **{name: row._mapping[name] for name in _AUDITED}
                | {"action": AuditAction.stored(row.action)},
            )
            for row in found.items
        ]
    )


async def count_audit(conn: AsyncConnection, filters: AuditQuery, up_to: int) -> int:
    """How many changes match the filters, at most `up_to`."""
    return await list_pagination.count(conn, _audited(filters), up_to)


def _audited(filters: AuditQuery) -> Select[Any]:
    columns = [audit_log.c[name] for name in _AUDITED]
    query: Select[Any] = select(*columns, users.c.name.label("user_name")).outerjoin_from(
        audit_log, users, users.c.id == audit_log.c.user_id
    )
    for column, value in (
        (audit_log.c.object_type, filters.object_type),
        (audit_log.c.object_id, filters.object_id),
        (audit_log.c.user_id, filters.user_id),
        (audit_log.c.action, filters.action),
    ):
        if value is not None:
            query = query.where(column == value)
    if filters.since is not None:
        query = query.where(audit_log.c.at >= filters.since)
    return query
