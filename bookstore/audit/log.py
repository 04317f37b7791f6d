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
    # The log is permanent, so users' own addresses at their account settings are not stored.
    is_own = object_type == "user" and str(object_id) == str(user_id)
    await conn.execute(
        insert(audit_log).values(
            at=now,
            user_id=user_id,
            action=action,
            object_type=object_type,
            object_id=str(object_id),
            changes=dict(changes),
            address=None if is_own else ADDRESS.get(),
        )
    )


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
    if changes:
        rows = [
            {
                "at": now,
                "user_id": user_id,
                "action": action,
                "object_type": object_type,
                "object_id": object_id,
                "changes": dict(fields),
                "address": ADDRESS.get(),
            }
            for object_id, fields in changes.items()
        ]
        await conn.execute(insert(audit_log), rows)
