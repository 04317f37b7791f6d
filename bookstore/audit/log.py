"""Who changed what: one row for each change by staff, in the change's own transaction."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import audit_log

#: The network address behind the running request: it is a fact about the moment, as the clock
#: is, and no service decides anything by it.  Nobody's where there is no request.
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
    """Write down a change: `changes` maps a field to `[before, after]`.

    Personal data is named but not kept: its field maps to None.  `user_id` is None for
    what was done on the command line.
    """
    # The log is for ever: from where people look after their own accounts must not stay in it.
    own = object_type == "user" and str(object_id) == str(user_id)
    await conn.execute(
        insert(audit_log).values(
            at=now,
            user_id=user_id,
            action=action,
            object_type=object_type,
            object_id=str(object_id),
            changes=dict(changes),
            address=None if own else ADDRESS.get(),
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
    """Write down the same action on many objects; `changes` has those of each by its id."""
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
