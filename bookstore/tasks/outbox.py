"""The unfinished work of the actors: transactional outbox, task list and dead letters in one table.

A row is written in the transaction of the change that causes it and deleted in the transaction
that completes it.  In between, messages announce the row to the workers.  A message carries no
state: it may be late, lost or duplicated.

    waiting ──published──> in progress ──> deleted (done)
       ^                       │
       └──── failed, due ──────┤
                               └──> dead after MAX_ATTEMPTS ──replay──> waiting
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, correlation
from bookstore.database.failpoints import failpoint
from bookstore.database.statements import Bulk, BulkQuery, Statement, run_statements
from bookstore.database.tables import tasks
from bookstore.errors import NotFound, TaskNotDead
from bookstore.stored_enum import StoredEnum
from bookstore.tasks import failures


class Task(StoredEnum):
    """The kinds of work.  Each value is the name of the actor that does it."""

    PROCESS_ORDERS = "process_orders"
    SEND_NOTIFICATIONS = "send_notifications"
    RUN_JOBS = "run_jobs"


class TaskRef(NamedTuple):
    """What a message says to the actor `task`: process the row `ref_id`."""

    task: Task
    ref_id: int


class DueTask(NamedTuple):
    """A row that is due, and how often the relay has published it before."""

    ref: TaskRef
    publish_count: int


class StartedAttempt(NamedTuple):
    """An attempt: its number, from 1, and the id of the request that caused the work."""

    number: int
    request_id: str | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A row of unfinished work, as staff see it."""

    id: int
    task: Task
    ref_id: int
    due_at: datetime
    publish_count: int
    attempts: int
    error: str | None
    dead_at: datetime | None
    request_id: str | None
    created_at: datetime

    @property
    def state(self) -> str:
        """`waiting`: the task will be attempted; `dead`: all attempts failed."""
        return "waiting" if self.dead_at is None else "dead"


#: The process that wrote a row publishes it right after its commit.  The relay ignores the row for
#: this long.
GRACE = timedelta(seconds=30)
#: An attempt counts when it starts, so an attempt that kills its worker counts too.
MAX_ATTEMPTS = 5
#: The relay republishes every unfinished task after this delay.  It cannot distinguish a message
#: that is still queued from one that the broker lost, so the delay does not grow; only the length
#: of the queue limits how much is republished (`actors/relay.py`).
REPUBLISH_DELAY = timedelta(seconds=30)
#: The delay after the first failed attempt; it doubles with each further one.  A failure of the
#: infrastructure (the database is down) does not count as an attempt.
RETRY_DELAY = timedelta(seconds=2)
#: Staff see this many characters of an error; tracebacks are in the log.
ERROR_LENGTH = failures.ERROR_LENGTH

_ADD = Bulk(
    "ref_id BIGINT, request_id VARCHAR(64)",
    """
    INSERT INTO tasks (task, ref_id, due_at, publish_count, attempts, request_id, created_at)
    SELECT :task, v.ref_id, :due_at, 0, 0, v.request_id, :now FROM {rows} AS v
    """,
)
#: The tasks of these rows, and the same as a condition for SQLite.
_ROWS = "{rows} AS v {join} tasks AS t ON t.task = :task AND t.ref_id = v.ref_id"
_IN_ROWS = "task = :task AND ref_id IN (SELECT ref_id FROM {rows})"
_UNFINISHED = f"FROM {_ROWS} WHERE t.dead_at IS NULL"
_ATTEMPTS = BulkQuery("ref_id BIGINT", "t.ref_id, t.attempts, t.request_id", _UNFINISHED)
_READY = BulkQuery(
    "ref_id BIGINT",
    "t.ref_id, t.attempts",
    _UNFINISHED + " AND (t.attempts < 2 OR t.publish_count > 0 OR t.due_at <= :now)",
)
_LOCK = BulkQuery("ref_id BIGINT", "t.ref_id, t.attempts", _UNFINISHED + " {for_update}")
_COUNT_ATTEMPTS = Bulk(
    "ref_id BIGINT",
    f"UPDATE {_ROWS} SET t.attempts = t.attempts + :change WHERE t.dead_at IS NULL",  # noqa: S608 - all constant
    sqlite=f"UPDATE tasks SET attempts = attempts + :change WHERE {_IN_ROWS} AND dead_at IS NULL",  # noqa: S608 - all constant
)
_LEASE = Bulk(
    "ref_id BIGINT",
    f"UPDATE {_ROWS} SET t.due_at = :due_at",  # noqa: S608 - all constant
    sqlite=f"UPDATE tasks SET due_at = :due_at WHERE {_IN_ROWS}",  # noqa: S608 - all constant
)
_COMPLETE = Bulk(
    "ref_id BIGINT",
    f"DELETE t FROM {_ROWS}",
    sqlite=f"DELETE FROM tasks WHERE {_IN_ROWS}",  # noqa: S608 - all constant
)
_POSTPONE = Bulk(
    "ref_id BIGINT, due_at DATETIME(6), error TEXT",
    f"UPDATE {_ROWS} SET t.due_at = v.due_at, t.publish_count = 0, t.attempts = 0,"  # noqa: S608 - all constant
    " t.error = v.error",
    sqlite="""
    UPDATE tasks SET due_at = v.due_at, publish_count = 0, attempts = 0, error = v.error
    FROM {rows} AS v WHERE tasks.task = :task AND tasks.ref_id = v.ref_id
    """,
)
_PUBLISHED = Bulk.update(
    "id BIGINT",
    "tasks",
    "t.id = v.id",
    {"publish_count": "t.publish_count + 1", "due_at": ":due_at"},
)


async def add(
    conn: AsyncConnection,
    task: Task,
    ref_ids: Collection[int],
    *,
    now: datetime,
    request_ids: Mapping[int, str | None] | None = None,
) -> None:
    """Queue these rows for the actor; they are published when this transaction is committed.

    `request_ids` maps each row to the request that caused it, for a transaction that serves several
    requests.
    """
    if not ref_ids:
        return
    await add_statement(task, ref_ids, now=now, request_ids=request_ids).run(conn)
    announce(conn, task, ref_ids)


def add_statement(
    task: Task,
    ref_ids: Collection[int],
    *,
    now: datetime,
    request_ids: Mapping[int, str | None] | None = None,
) -> Statement:
    """Like `add`, as a statement for `run_statements`; the caller then calls `announce`."""
    if request_ids is None:
        request_ids = dict.fromkeys(ref_ids, correlation.current())
    rows = [(ref_id, request_ids.get(ref_id)) for ref_id in sorted(ref_ids)]
    return _ADD.of(rows, task=task, due_at=now + GRACE, now=now)


def announce(conn: AsyncConnection, task: Task, ref_ids: Collection[int]) -> None:
    """Publish these rows to the actor right after this transaction's commit.

    A kind of task that this release does not know has no actor here; the relay of the release that
    knows it publishes it.
    """
    if not task.is_known:
        return
    assert conn.sync_connection is not None
    written: list[TaskRef] = conn.sync_connection.get_execution_options().get("new_tasks", [])
    written.extend(TaskRef(task, ref_id) for ref_id in ref_ids)


async def start_attempts(
    conn: AsyncConnection, task: Task, ref_ids: Collection[int]
) -> dict[int, StartedAttempt]:
    """Count the start of an attempt at each row; its number and its request id, by `ref_id`.

    The caller commits this before the work, so an attempt that kills its worker is counted.
    Rows that are done or dead are missing from the result.
    """
    rows = _rows(ref_ids)
    count_starts = _COUNT_ATTEMPTS.of(rows, task=task, change=1)
    found = sorted(await run_statements(conn, count_starts, answer=_ATTEMPTS.of(rows, task=task)))
    return {ref_id: StartedAttempt(number, request_id) for ref_id, number, request_id in found}


async def uncount_attempts(conn: AsyncConnection, task: Task, ref_ids: Collection[int]) -> None:
    """Subtract the last attempt: the failure was in the infrastructure, not in the work."""
    await _COUNT_ATTEMPTS(conn, _rows(ref_ids), task=task, change=-1)


async def ready(
    conn: AsyncConnection, task: Task, ref_ids: Collection[int], *, now: datetime
) -> dict[int, int]:
    """How many attempts were started, by `ref_id`, for the rows that can be processed now.

    Rows that are done or dead, or whose retry is not due yet, are missing from the result.
    """
    return dict(sorted(await _READY(conn, _rows(ref_ids), task=task, now=now)))


async def delay_retry(
    conn: AsyncConnection, task: Task, ref_id: int, started: int, *, now: datetime
) -> None:
    """Set the earliest time of the row's next attempt, before attempt number `started` runs.

    The attempt may kill its worker, and the broker redelivers the message as soon as another worker
    runs.  With the delay other rows are processed in between.
    """
    await _change(conn, task, ref_id, due_at=now + _retry_delay(started), publish_count=0)


async def lock(conn: AsyncConnection, task: Task, ref_ids: Collection[int]) -> dict[int, int]:
    """Lock the unfinished rows; how many attempts each had, by `ref_id`.

    Another worker with a message about the same rows waits here until this transaction ends.
    """
    return dict(sorted(await _LOCK(conn, _rows(ref_ids), task=task)))


async def complete(
    conn: AsyncConnection,
    task: Task,
    ref_ids: Collection[int],
    *,
    preceding: Iterable[Statement] = (),
) -> None:
    """Delete the rows, in the transaction that completes their work.

    The statement is a join, because `DELETE ... WHERE ref_id IN (...)` scans this small table and
    waits for uncommitted rows of other transactions (MariaDB 10.11, error 1205).
    The statements of `preceding` run first, in the same round trip.
    """
    changes = [*preceding]
    if ref_ids:
        changes.append(_COMPLETE.of(_rows(ref_ids), task=task))
    if changes:
        await run_statements(conn, *changes)


async def fail(
    conn: AsyncConnection, task: Task, ref_id: int, error: str, *, now: datetime
) -> bool:
    """Record a failed attempt; it is retried after a delay.  True when it was the last attempt.

    After the last attempt the row is dead: a dead letter for staff.
    """
    started = (await lock(conn, task, [ref_id])).get(ref_id)
    if started is None:
        return False
    last = started >= MAX_ATTEMPTS
    await failures.record(conn, task, [(ref_id, started, error)], now=now)
    due_at, dead_at = now + _retry_delay(started), now if last else None
    await _change(conn, task, ref_id, error=error[:ERROR_LENGTH], due_at=due_at, dead_at=dead_at)
    return last


async def postpone(
    conn: AsyncConnection, task: Task, later: Collection[tuple[int, datetime, str | None]]
) -> None:
    """Retry rows: each `(ref_id, due_at, error)` at its `due_at`.

    An external system (the mail server) asked for the delay, so the attempts count from 0 again.
    """
    if not later:
        return
    rows = [
        (ref_id, due_at, error[:ERROR_LENGTH] if error else None)
        for ref_id, due_at, error in sorted(later, key=itemgetter(0))
    ]
    await _POSTPONE(conn, rows, task=task)


async def record_progress(conn: AsyncConnection, task: Task, ref_id: int, *, now: datetime) -> None:
    """Record progress of long work: it is republished only after `GRACE` without progress."""
    await _change(conn, task, ref_id, due_at=now + GRACE, publish_count=0, attempts=0, error=None)


async def lease(
    conn: AsyncConnection,
    task: Task,
    ref_ids: Collection[int],
    until: datetime,
    *,
    preceding: Iterable[Statement] = (),
) -> None:
    """Keep the relay from republishing rows before `until`, while a worker processes them.

    The statements of `preceding` run first, in the same round trip.
    """
    await run_statements(conn, *preceding, _LEASE.of(_rows(ref_ids), task=task, due_at=until))


async def claim_due(
    conn: AsyncConnection, *, now: datetime, limit: int = 1000, ahead: timedelta = timedelta(0)
) -> list[DueTask]:
    """Rows that are due, for the caller to publish; each is due again after `REPUBLISH_DELAY`.

    `ahead` includes rows that become due within that time.
    """
    query = (
        select(tasks.c.id, tasks.c.task, tasks.c.ref_id, tasks.c.publish_count)
        # The relay of a newer release publishes the kinds of task that only it knows.
        .where(tasks.c.task.in_(list(Task)), tasks.c.dead_at.is_(None))
        .where(tasks.c.due_at <= now + ahead)
        .order_by(tasks.c.due_at, tasks.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = (await conn.execute(query)).all()
    if found:
        await _PUBLISHED(conn, sorted((row.id,) for row in found), due_at=now + REPUBLISH_DELAY)
        failpoint("R1")
    return [DueTask(TaskRef(Task.stored(row.task), row.ref_id), row.publish_count) for row in found]


async def find(
    conn: AsyncConnection, *, dead: bool | None = None, after_id: int = 0, limit: int = 100
) -> list[TaskRow]:
    """Unfinished work, oldest first; `dead` selects only dead (True) or only live (False) rows."""
    query = select(tasks).where(tasks.c.id > after_id).order_by(tasks.c.id).limit(limit)
    if dead is not None:
        query = query.where(tasks.c.dead_at.is_not(None) if dead else tasks.c.dead_at.is_(None))
    return [of_row(found) for found in await conn.execute(query)]


async def get(conn: AsyncConnection, task_id: int) -> TaskRow:
    """One row of unfinished work.

    Raises:
        NotFound: it is done or discarded, or never existed.
    """
    found = (await conn.execute(select(tasks).where(tasks.c.id == task_id))).one_or_none()
    if found is None:
        raise NotFound("This task")
    return of_row(found)


async def replay(
    conn: AsyncConnection, task_id: int, *, user_id: int | None, now: datetime
) -> TaskRow:
    """Reset the attempts of a dead task and publish it at once.

    Raises:
        NotFound: there is no such task.
    """
    await _replay(conn, [await get(conn, task_id)], user_id, now)
    return await get(conn, task_id)


async def replay_many(
    conn: AsyncConnection, task_ids: Collection[int], *, user_id: int | None, now: datetime
) -> int:
    """Replay the dead ones among these tasks; how many there were."""
    query = select(tasks).where(tasks.c.id.in_(task_ids), tasks.c.dead_at.is_not(None))
    found = await conn.execute(query.order_by(tasks.c.id).with_for_update())
    dead = [of_row(row) for row in found]
    await _replay(conn, dead, user_id, now)
    return len(dead)


async def _replay(
    conn: AsyncConnection, rows: Sequence[TaskRow], user_id: int | None, now: datetime
) -> None:
    reset = {"dead_at": None, "attempts": 0, "publish_count": 0, "error": None, "due_at": now}
    await conn.execute(update(tasks).where(tasks.c.id.in_([it.id for it in rows])).values(reset))
    changes = {work_name(it.task, it.ref_id): {"error": [it.error, None]} for it in rows}
    await audit.record_many(conn, "replay", "task", changes, user_id=user_id, now=now)
    for row in rows:
        announce(conn, row.task, [row.ref_id])


async def lock_dead(conn: AsyncConnection, task_id: int) -> TaskRow:
    """A dead task, locked until this transaction ends.

    Raises:
        NotFound: there is no such task.
        TaskNotDead: it will be attempted again.
    """
    query = select(tasks).where(tasks.c.id == task_id).with_for_update()
    found = (await conn.execute(query)).one_or_none()
    if found is None:
        raise NotFound("This task")
    if found.dead_at is None:
        raise TaskNotDead
    return of_row(found)


async def delete_dead(
    conn: AsyncConnection, task: TaskRow, reason: str, *, user_id: int | None, now: datetime
) -> None:
    """Delete a dead task that the caller has locked.

    The caller decides in the same transaction what becomes of the object that it was about.
    """
    await conn.execute(delete(tasks).where(tasks.c.id == task.id))
    changes: dict[str, list[Any]] = {"task": [task.task, None], "ref_id": [task.ref_id, None]}
    changes["reason"] = [None, reason]
    name = work_name(task.task, task.ref_id)
    await audit.record(conn, "discard", "task", name, changes, user_id=user_id, now=now)


def work_name(task: str, ref_id: int) -> str:
    """What the audit log calls a task: the id of its row is deleted with the row."""
    return f"{task}:{ref_id}"


async def count(conn: AsyncConnection) -> dict[str, int]:
    """How many rows are `waiting` and how many are `dead`."""
    query = select(func.count(), func.count(tasks.c.dead_at)).select_from(tasks)
    total, dead = (await conn.execute(query)).one()
    return {"waiting": total - dead, "dead": dead}


async def _change(conn: AsyncConnection, task: Task, ref_id: int, **values: Any) -> None:
    await conn.execute(
        update(tasks).where(tasks.c.task == task, tasks.c.ref_id == ref_id).values(**values)
    )


def _retry_delay(started: int) -> timedelta:
    return RETRY_DELAY * (1 << max(started - 1, 0))


def _rows(ref_ids: Collection[int]) -> Sequence[tuple[int]]:
    # Every transaction takes the locks in ascending order, to avoid deadlocks.
    return [(ref_id,) for ref_id in sorted(ref_ids)]


def of_row(row: Any) -> TaskRow:
    """The task of a row, which may have further columns."""
    facts = {column.name: row._mapping[column.name] for column in tasks.c}
    return TaskRow(**facts | {"task": Task.stored(row.task)})
