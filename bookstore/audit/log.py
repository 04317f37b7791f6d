"""The audit log: one row for each change by staff, in the transaction of the change."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import audit_log

#: The client address of the current request, None outside of a request.  A context variable,
#: because it is only recorded: no service bases a decision on it.
ADDRESS: ContextVar[str | None] = ContextVar("address", default=None)


async def record(
    conn: AsyncConnection,
    action: str,
    object_type: str,
    object_id: object,
    changes: Mapping[str, Sequence[Any] | None],
    *,
    user_id: int | None,
    now: datetime,
) -> None:
    """Record a change: `changes` maps a field to `[before, after]`.

    A field with personal data maps to None, so its values are not stored.  `user_id` is None for
    changes from the command line.
    """
    rows = {str(object_id): changes}
    await record_many(conn, action, object_type, rows, user_id=user_id, now=now)


async def record_many(
    conn: AsyncConnection,
    action: str,
    object_type: str,
    changes: Mapping[str, Mapping[str, Sequence[Any] | None]],
    *,
    user_id: int | None,
    now: datetime,
) -> None:
    """Record the same action on many objects; `changes` maps an object id to its changes."""
    own_account = ("user", str(user_id))
    rows = [
        {
            "at": now,
            "user_id": user_id,
            "action": action,
            "object_type": object_type,
            "object_id": object_id,
            "changes": dict(fields),
            # The log is permanent, so users' own addresses at their account settings are not
            # stored.
            "address": None if (object_type, object_id) == own_account else ADDRESS.get(),
        }
        for object_id, fields in changes.items()
    ]
    if rows:
        await conn.execute(insert(audit_log), rows)
