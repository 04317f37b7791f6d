"""Failed attempts, which show staff why a task is dead.

The task's own row has only the last error, and is deleted when the work is done.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.statements import Bulk
from bookstore.database.tables import task_failures

#: Errors are truncated to this many characters; tracebacks are in the log.
ERROR_LENGTH = 1000
#: Staff see this many of the latest failures.
_MAX_RESULTS = 100

_RECORD = Bulk(
    "ref_id BIGINT, attempt INT, error TEXT",
    """
    INSERT INTO task_failures (task, ref_id, attempt, error, at)
    SELECT :task, v.ref_id, v.attempt, v.error, :now FROM {rows} AS v
    """,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt at a task."""

    task: str
    ref_id: int
    attempt: int
    error: str
    at: datetime


async def record(
    conn: AsyncConnection, task: str, failed: Collection[tuple[int, int, str]], *, now: datetime
) -> None:
    """Record each failed `(ref_id, attempt, error)`, in the transaction that plans the retry."""
    if failed:
        rows = [(ref_id, attempt, error[:ERROR_LENGTH]) for ref_id, attempt, error in failed]
        await _RECORD(conn, rows, task=task, now=now)


async def of(conn: AsyncConnection, task: str, ref_id: int) -> list[Failure]:
    """The latest failed attempts at this work, oldest first."""
    columns = (task_failures.c[name] for name in Failure.__slots__)
    query = select(*columns).where(task_failures.c.task == task, task_failures.c.ref_id == ref_id)
    latest = await conn.execute(query.order_by(task_failures.c.id.desc()).limit(_MAX_RESULTS))
    return [Failure(*row) for row in reversed(latest.all())]


async def purge(conn: AsyncConnection, *, before: datetime) -> None:
    """Delete the failures from before this time."""
    await conn.execute(delete(task_failures).where(task_failures.c.at < before))
