"""Who changed what: one row for each change by staff, in the change's own transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.tables import audit_log


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
    await conn.execute(
        insert(audit_log).values(
            at=now,
            user_id=user_id,
            action=action,
            object_type=object_type,
            object_id=str(object_id),
            changes=dict(changes),
        )
    )
