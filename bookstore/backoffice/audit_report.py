"""Who changed what: the audit log, as staff read it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import list_pagination
from bookstore.database.list_pagination import Slice
from bookstore.database.tables import audit_log, users


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the audit: `changes` maps a field to `[before, after]`, or to None."""

    id: int
    at: datetime
    user_id: int | None
    user_name: str | None
    action: str
    object_type: str
    object_id: str
    changes: dict[str, Any]
    #: The network address it came from; None for the command line.
    address: str | None


_AUDITED = ("id", "at", "user_id", "action", "object_type", "object_id", "changes", "address")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which changes; all conditions have to hold, None is no condition."""

    object_type: str | None = None
    object_id: str | None = None
    user_id: int | None = None
    action: str | None = None
    since: datetime | None = None


#: How the changes are sorted.
AUDIT_SORTS = {"time": audit_log.c.id}


LATEST = "-time"


async def audit(
    conn: AsyncConnection,
    asked: Asked | None = None,
    *,
    sort: str = LATEST,
    cursor: str | None = None,
    limit: int = 25,
) -> Slice[Change]:
    """Who changed what, the newest first unless `sort` says otherwise.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    query = _audited(asked or Asked())
    by = list_pagination.order(sort, AUDIT_SORTS, audit_log.c.id, LATEST)
    found = await list_pagination.cut(conn, query, by, cursor=cursor, limit=limit)
    return found.of(
        [
            Change(user_name=row.user_name, **{name: row._mapping[name] for name in _AUDITED})
            for row in found.items
        ]
    )


async def count_audit(conn: AsyncConnection, asked: Asked, most: int) -> int:
    """How many changes there are of these, up to `most`."""
    return await list_pagination.count(conn, _audited(asked), most)


def _audited(asked: Asked) -> Select[Any]:
    columns = [audit_log.c[name] for name in _AUDITED]
    query: Select[Any] = select(*columns, users.c.name.label("user_name")).outerjoin_from(
        audit_log, users, users.c.id == audit_log.c.user_id
    )
    for column, wanted in (
        (audit_log.c.object_type, asked.object_type),
        (audit_log.c.object_id, asked.object_id),
        (audit_log.c.user_id, asked.user_id),
        (audit_log.c.action, asked.action),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if asked.since is not None:
        query = query.where(audit_log.c.at >= asked.since)
    return query
