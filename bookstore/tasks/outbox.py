"""What the actors still have to do: outbox, job list and dead letters in one table.

A row is written in the transaction of the change that causes it and deleted in the one
that completes it.  In between, messages carry hints about it, which may be late, lost or
doubled.

    waiting ──offered──> being tried ──> gone (done)
       ^                     │
       └──── failed, due ────┤
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
from bookstore.database.statements import Bulk, BulkQuery, Statement, in_one_trip
from bookstore.database.tables import tasks
from bookstore.errors import NotFound
from bookstore.stored_enum import StoredEnum
from bookstore.tasks import failures


class Task(StoredEnum):
    """The kinds of work, each the name of the actor that does it."""

    PROCESS_ORDERS = "process_orders"
    SEND_NOTIFICATIONS = "send_notifications"
    RUN_JOBS = "run_jobs"


class Offer(NamedTuple):
    """A hint for the actor `task`: look at the row `ref_id`."""

    task: Task
    ref_id: int


class Due(NamedTuple):
    """A row whose time has come, and how often the relay had come by it before."""

    offer: Offer
    publish_count: int


class Start(NamedTuple):
    """An attempt: the how many-th it is, and the request that wanted the work done."""

    number: int
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A piece of unfinished work, as staff see it."""

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


#: Whoever wrote a row publishes it at once; until then the relay leaves it alone.
GRACE = timedelta(seconds=30)
#: Attempts are starts, so one that takes its worker down with it counts too.
MAX_ATTEMPTS = 5
#: The relay publishes again what nobody finished.  Always so soon, because nothing tells a hint
#: that waits its turn from one that the broker lost, but for the length of the queue.
PAUSE = timedelta(seconds=30)
#: After a failure that is no fault of the machinery.
RETRY_PAUSE = timedelta(seconds=2)
#: What staff read of an error; tracebacks are in the log.
ERROR_LENGTH = failures.ERROR_LENGTH

_ADD = Bulk(
    "ref_id BIGINT, request_id VARCHAR(64)",
    """
    INSERT INTO tasks (task, ref_id, due_at, publish_count, attempts, request_id, created_at)
    SELECT :task, v.ref_id, :due_at, 0, 0, v.request_id, :now FROM {rows} AS v
    """,
)
_COUNT = Bulk(
    "ref_id BIGINT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN tasks AS t ON t.task = :task AND t.ref_id = v.ref_id
    SET t.attempts = t.attempts + :change WHERE t.dead_at IS NULL
    """,
    sqlite="""
    UPDATE tasks SET attempts = attempts + :change
    WHERE task = :task AND ref_id IN (SELECT ref_id FROM {rows}) AND dead_at IS NULL
    """,
)
_FIND = """
    FROM {rows} AS v {join} tasks AS t ON t.task = :task AND t.ref_id = v.ref_id
    WHERE t.dead_at IS NULL
"""
_ATTEMPTS = BulkQuery("ref_id BIGINT", "t.ref_id, t.attempts, t.request_id", _FIND)
_READY = BulkQuery(
    "ref_id BIGINT",
    "t.ref_id, t.attempts",
    _FIND + " AND (t.attempts < 2 OR t.publish_count > 0 OR t.due_at <= :now)",
)
_HOLD = BulkQuery("ref_id BIGINT", "t.ref_id, t.attempts", _FIND + " {for_update}")
_DONE = Bulk(
    "ref_id BIGINT",
    """
    DELETE t FROM {rows} AS v STRAIGHT_JOIN tasks AS t ON t.task = :task AND t.ref_id = v.ref_id
    """,
    sqlite="DELETE FROM tasks WHERE task = :task AND ref_id IN (SELECT ref_id FROM {rows})",
)
_LEASE = Bulk(
    "ref_id BIGINT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN tasks AS t ON t.task = :task AND t.ref_id = v.ref_id
    SET t.due_at = :due_at
    """,
    sqlite="""
    UPDATE tasks SET due_at = :due_at
    WHERE task = :task AND ref_id IN (SELECT ref_id FROM {rows})
    """,
)
_POSTPONE = Bulk(
    "ref_id BIGINT, due_at DATETIME(6), error TEXT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN tasks AS t ON t.task = :task AND t.ref_id = v.ref_id
    SET t.due_at = v.due_at, t.publish_count = 0, t.attempts = 0, t.error = v.error
    """,
    sqlite="""
    UPDATE tasks SET due_at = v.due_at, publish_count = 0, attempts = 0, error = v.error
    FROM {rows} AS v WHERE tasks.task = :task AND tasks.ref_id = v.ref_id
    """,
)
_OFFERED = Bulk(
    "id BIGINT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN tasks AS t {by_key} ON t.id = v.id
    SET t.publish_count = t.publish_count + 1, t.due_at = :due_at
    """,
    sqlite="""
    UPDATE tasks SET publish_count = publish_count + 1, due_at = :due_at
    WHERE id IN (SELECT id FROM {rows})
    """,
)


async def add(
    conn: AsyncConnection,
    task: Task,
    ref_ids: Collection[int],
    *,
    now: datetime,
    request_ids: Mapping[int, str | None] | None = None,
) -> None:
    """Ask the actor to work on these rows, as soon as this transaction is committed.

    `request_ids` says which request wanted it, row by row, where the transaction is for
    several of them.
    """
    if not ref_ids:
        return
    await adding(task, ref_ids, now=now, request_ids=request_ids).run(conn)
    announce(conn, task, ref_ids)


def adding(
    task: Task,
    ref_ids: Collection[int],
    *,
    now: datetime,
    request_ids: Mapping[int, str | None] | None = None,
) -> Statement:
    """The same as a statement for `in_one_trip`, to be followed by `announce`."""
    if request_ids is None:
        request_ids = dict.fromkeys(ref_ids, correlation.current())
    rows = [(ref_id, request_ids.get(ref_id)) for ref_id in sorted(ref_ids)]
    return _ADD.of(rows, task=task, due_at=now + GRACE, now=now)


def announce(conn: AsyncConnection, task: Task, ref_ids: Collection[int]) -> None:
    """Have these rows offered to the actor right after this transaction's commit.

    A kind of task that this release does not know has no actor here and is left to its own.
    """
    if not task.is_known:
        return
    assert conn.sync_connection is not None
    written: list[Offer] = conn.sync_connection.get_execution_options().get("written", [])
    written.extend(Offer(task, ref_id) for ref_id in ref_ids)


async def start(conn: AsyncConnection, task: Task, ref_ids: Collection[int]) -> dict[int, Start]:
    """Note that work on these rows starts, and tell how often it has now been started, and why.

    Committed before the work, so that an attempt that takes its worker down is counted.
    Rows that are done or dead are not in the answer.
    """
    rows = _rows(ref_ids)
    counting, asking = _COUNT.of(rows, task=task, change=1), _ATTEMPTS.of(rows, task=task)
    found = sorted(await in_one_trip(conn, counting, answer=asking))
    return {ref_id: Start(number, request_id) for ref_id, number, request_id in found}


async def take_back(conn: AsyncConnection, task: Task, ref_ids: Collection[int]) -> None:
    """Do not count the last start: it was the machinery that failed, not the work."""
    await _COUNT(conn, _rows(ref_ids), task=task, change=-1)


async def ready(
    conn: AsyncConnection, task: Task, ref_ids: Collection[int], *, now: datetime
) -> dict[int, int]:
    """How often work on these rows was started; left out are those done, dead or to be tried
    later: nobody has to work on them (yet)."""
    return dict(sorted(await _READY(conn, _rows(ref_ids), task=task, now=now)))


async def pause(
    conn: AsyncConnection, task: Task, ref_id: int, started: int, *, now: datetime
) -> None:
    """Have a row left alone for a while after this attempt, its `started`-th, however it ends.

    It may take its worker down, and its message comes again as soon as the next one is there:
    others come in between.
    """
    await _change(conn, task, ref_id, due_at=now + _pause(started), publish_count=0)


async def hold(conn: AsyncConnection, task: Task, ref_ids: Collection[int]) -> dict[int, int]:
    """Lock the rows that are still to be done, and tell how often each was tried.

    Whoever else has a message about them waits here until we are through.
    """
    return dict(sorted(await _HOLD(conn, _rows(ref_ids), task=task)))


async def done(
    conn: AsyncConnection, task: Task, ref_ids: Collection[int], *, after: Iterable[Statement] = ()
) -> None:
    """Forget the rows, in the transaction that completes their work.

    By a join: `DELETE ... WHERE ref_id IN (...)` scans this small table and waits for rows
    that strangers have not committed yet (MariaDB 10.11, error 1205).
    The changes of `after` are made first, in the same trip.
    """
    changes = [*after]
    if ref_ids:
        changes.append(_DONE.of(_rows(ref_ids), task=task))
    if changes:
        await in_one_trip(conn, *changes)


async def fail(
    conn: AsyncConnection, task: Task, ref_id: int, error: str, *, now: datetime
) -> bool:
    """Record a failed attempt, to be repeated after a pause; True when it was the last one.

    After the last the row is dead, which makes it a dead letter for staff.
    """
    started = (await hold(conn, task, [ref_id])).get(ref_id)
    if started is None:
        return False
    last = started >= MAX_ATTEMPTS
    await failures.record(conn, task, [(ref_id, started, error)], now=now)
    await _change(
        conn,
        task,
        ref_id,
        error=error[:ERROR_LENGTH],
        due_at=now + _pause(started),
        dead_at=now if last else None,
    )
    return last


async def postpone(
    conn: AsyncConnection, task: Task, later: Collection[tuple[int, datetime, str | None]]
) -> None:
    """Try rows again: each `(ref_id, due_at, error)` at its `due_at`.

    Somebody outside said to come back, so the attempts start anew.
    """
    if not later:
        return
    rows = [
        (ref_id, due_at, error[:ERROR_LENGTH] if error else None)
        for ref_id, due_at, error in sorted(later, key=itemgetter(0))
    ]
    await _POSTPONE(conn, rows, task=task)


async def got_on(conn: AsyncConnection, task: Task, ref_id: int, *, now: datetime) -> None:
    """Note that long work makes progress: it is offered again only when it has been silent."""
    await _change(conn, task, ref_id, due_at=now + GRACE, publish_count=0, attempts=0, error=None)


async def lease(
    conn: AsyncConnection,
    task: Task,
    ref_ids: Collection[int],
    until: datetime,
    *,
    after: Iterable[Statement] = (),
) -> None:
    """Keep the relay from offering rows again while somebody works on them.

    The changes of `after` are made first, in the same trip.
    """
    await in_one_trip(conn, *after, _LEASE.of(_rows(ref_ids), task=task, due_at=until))


async def claim_due(
    conn: AsyncConnection,
    *,
    now: datetime,
    limit: int = 1000,
    ahead: timedelta = timedelta(0),
) -> list[Due]:
    """Rows whose time has come, to be offered to their actors; it comes again after a pause.

    `ahead` takes in what is due a little later too.
    """
    found = (
        await conn.execute(
            select(tasks.c.id, tasks.c.task, tasks.c.ref_id, tasks.c.publish_count)
            .where(
                # What a newer release has to do is left to its own relay.
                tasks.c.task.in_(list(Task)),
                tasks.c.dead_at.is_(None),
                tasks.c.due_at <= now + ahead,
            )
            .order_by(tasks.c.due_at, tasks.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
    ).all()
    if found:
        await _OFFERED(conn, sorted((row.id,) for row in found), due_at=now + PAUSE)
        failpoint("R1")
    return [Due(Offer(Task.stored(row.task), row.ref_id), row.publish_count) for row in found]


async def find(
    conn: AsyncConnection,
    *,
    dead: bool | None = None,
    after_id: int = 0,
    limit: int = 100,
) -> list[Row]:
    """Unfinished work, oldest first; `dead` chooses the dead letters or the others."""
    query = select(tasks).where(tasks.c.id > after_id).order_by(tasks.c.id).limit(limit)
    if dead is not None:
        query = query.where(tasks.c.dead_at.is_not(None) if dead else tasks.c.dead_at.is_(None))
    return [of_row(found) for found in await conn.execute(query)]


async def get(conn: AsyncConnection, task_id: int) -> Row:
    """One piece of unfinished work.

    Raises:
        NotFound: it is done, discarded or never was.
    """
    found = (await conn.execute(select(tasks).where(tasks.c.id == task_id))).one_or_none()
    if found is None:
        raise NotFound("This task")
    return of_row(found)


async def replay(conn: AsyncConnection, task_id: int, *, user_id: int | None, now: datetime) -> Row:
    """Give a dead task its attempts back and offer it at once.

    Raises:
        NotFound: there is no such task.
    """
    task = await get(conn, task_id)
    await conn.execute(
        update(tasks)
        .where(tasks.c.id == task_id)
        .values(dead_at=None, attempts=0, publish_count=0, error=None, due_at=now)
    )
    await audit.record(
        conn,
        "replay",
        "task",
        work_name(task.task, task.ref_id),
        {"error": [task.error, None]},
        user_id=user_id,
        now=now,
    )
    announce(conn, task.task, [task.ref_id])
    return await get(conn, task_id)


async def replay_many(
    conn: AsyncConnection, task_ids: Collection[int], *, user_id: int | None, now: datetime
) -> int:
    """Give those of these tasks that are dead their attempts back; how many there were."""
    found = (
        await conn.execute(
            select(tasks)
            .where(tasks.c.id.in_(task_ids), tasks.c.dead_at.is_not(None))
            .order_by(tasks.c.id)
            .with_for_update()
        )
    ).all()
    await conn.execute(
        update(tasks)
        .where(tasks.c.id.in_([row.id for row in found]))
        .values(dead_at=None, attempts=0, publish_count=0, error=None, due_at=now)
    )
    told = {work_name(row.task, row.ref_id): {"error": [row.error, None]} for row in found}
    await audit.record_many(conn, "replay", "task", told, user_id=user_id, now=now)
    for row in found:
        announce(conn, Task.stored(row.task), [row.ref_id])
    return len(found)


async def discard(
    conn: AsyncConnection,
    task_id: int,
    reason: str,
    *,
    user_id: int | None,
    now: datetime,
) -> None:
    """Give up a task for good; what it was for stays as it is.

    Raises:
        NotFound: there is no such task.
    """
    task = await get(conn, task_id)
    await conn.execute(delete(tasks).where(tasks.c.id == task_id))
    changes: dict[str, list[Any]] = {
        "task": [task.task, None],
        "ref_id": [task.ref_id, None],
        "reason": [None, reason],
    }
    await audit.record(
        conn,
        "discard",
        "task",
        work_name(task.task, task.ref_id),
        changes,
        user_id=user_id,
        now=now,
    )


def work_name(task: str, ref_id: int) -> str:
    """What the audit calls a piece of work: its row's id is gone with the row."""
    return f"{task}:{ref_id}"


async def count(conn: AsyncConnection) -> dict[str, int]:
    """How many rows are `waiting` and how many are `dead`."""
    found = (
        await conn.execute(select(func.count(), func.count(tasks.c.dead_at)).select_from(tasks))
    ).one()
    return {"waiting": found[0] - found[1], "dead": found[1]}


async def _change(conn: AsyncConnection, task: Task, ref_id: int, **values: Any) -> None:
    await conn.execute(
        update(tasks).where(tasks.c.task == task, tasks.c.ref_id == ref_id).values(**values)
    )


def _pause(started: int) -> timedelta:
    return RETRY_PAUSE * (1 << max(started - 1, 0))


def _rows(ref_ids: Collection[int]) -> Sequence[tuple[int]]:
    # Everybody takes the locks in the same order: ascending.
    return [(ref_id,) for ref_id in sorted(ref_ids)]


def of_row(row: Any) -> Row:
    """The piece of work of a row, which may have further columns."""
    facts = {column.name: row._mapping[column.name] for column in tasks.c}
    return Row(**facts | {"task": Task.stored(row.task)})
