"""The audit log as staff read it: who changed what."""

import json
from dataclasses import dataclass
from datetime import datetime
from operator import eq, ge
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.audit import AuditAction
from bookstore.backoffice import lists
from bookstore.backoffice.lists import List
from bookstore.database.documents import is_damaged
from bookstore.database.tables import audit_log, users
from bookstore.users.permissions import Permission

_MAX_VALUE_LENGTH = 200


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


async def _select(conn: AsyncConnection, query: AuditQuery) -> Select[Any]:
    columns = [audit_log.c[name] for name in _AUDITED]
    return lists.where(
        select(*columns, users.c.name.label("user_name")).outerjoin_from(
            audit_log, users, users.c.id == audit_log.c.user_id
        ),
        (audit_log.c.object_type, eq, query.object_type),
        (audit_log.c.object_id, eq, query.object_id),
        (audit_log.c.user_id, eq, query.user_id),
        (audit_log.c.action, eq, query.action),
        (audit_log.c.at, ge, query.since),
    )


def _entry(row: Any) -> AuditEntry:
    facts = {name: row._mapping[name] for name in (*_AUDITED, "user_name")}
    return AuditEntry(**facts | {"action": AuditAction.stored(row.action)})


def _values(entry: AuditEntry, index: int) -> str:
    """The values of all fields, 0 before the change or 1 after it; empty for personal data."""
    pairs = entry.changes.values()
    return "; ".join(value_text(pair[index], "nothing") if pair else "" for pair in pairs)


def value_text(value: Any, if_empty: str) -> str:
    """A value of the audit log as one line, truncated; the log has the full value."""
    if value is None or value == "":
        return if_empty
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[:_MAX_VALUE_LENGTH]}…"


AUDIT = List(
    name="changes",
    query=AuditQuery,
    select=_select,
    load=lists.each(_entry),
    id=audit_log.c.id,
    sorts={"time": audit_log.c.id},
    default_sort="-time",
    columns={
        "at": "at",
        "who": lambda entry, _: entry.user_name or "command line",
        "address": "address",
        "action": "action",
        "object": "object_type",
        "id": "object_id",
        "field": lambda entry, _: (
            "damaged" if is_damaged(entry.changes) else "; ".join(entry.changes)
        ),
        "before": lambda entry, _: _values(entry, 0),
        "after": lambda entry, _: _values(entry, 1),
    },
    export_permission=Permission.SEE_AUDIT,
)
