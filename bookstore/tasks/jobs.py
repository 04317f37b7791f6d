"""Jobs: imports and exports, which take longer than anybody waits.

    queued ──> running ──> done
       │          ├──────> failed     (its error says why; what was taken so far stays)
       └──────────┴──────> cancelled  (the same)

A job is worked off in slices (`bookstore/tasks/job_runner.py`); how far it is lies in its row,
written with the work itself, so that it goes on from there after a crash.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.database.pagination import LARGEST_ID, Page, decode, encode
from bookstore.database.statements import Bulk
from bookstore.database.tables import job_lines, jobs
from bookstore.errors import JobEnded, NotFound
from bookstore.stored_enum import StoredEnum
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task

#: How long an ended job and what became of its lines can be looked at.
RETENTION = timedelta(days=90)
_PURGED = 10
#: Fits the columns of `job_lines`; what is longer was shortened for people before.
_FIELD, _VALUE, _REASON = 100, 100, 500


class Kind(StoredEnum):
    """What a job does."""

    IMPORT_BOOKS = "import-books"
    EXPORT_BOOKS = "export-books"
    EXPORT_ORDERS = "export-orders"
    #: What a list of the dashboard shows, all of it (`desk/exports.py`).
    EXPORT_LIST = "export-list"
    #: A plan for many rows is carried out or undone (`bulk_changes.py`).
    CHANGE_MANY = "change-many"


IMPORTS = (Kind.IMPORT_BOOKS,)
EXPORTS = (Kind.EXPORT_BOOKS, Kind.EXPORT_ORDERS)


class State(StoredEnum):
    """Where a job is on its way."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: Nothing more happens to a job in one of these, unless staff replay its dead task.
ENDED = frozenset({State.DONE, State.FAILED, State.CANCELLED})


class Outcome(StoredEnum):
    """What became of a line."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Job:
    """A job; `read` is the sum of the four numbers after it.

    `file_id` is what it reads, `result_id` what it wrote.  `done` of `total` is how far it is,
    in bytes or rows; `total` is None until that is known.  `findings` say what it found out
    about its file and which rules decided.
    """

    id: int
    kind: Kind
    state: State
    user_id: int | None
    file_id: int | None
    result_id: int | None
    options: Mapping[str, Any]
    findings: Mapping[str, Any]
    read: int
    created: int
    updated: int
    unchanged: int
    refused: int
    done: int
    total: int | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    finished_at: datetime | None

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1."""
        if self.state is State.DONE:
            return 1.0
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class Line:
    """What became of a line of an import; `line` is its number in the file, from 1.

    Of a refused one `column`, shortened `value` and `reason` say why (`column` is None when
    it is about the line as a whole), and `cells` are the row as the file has it.  `isbn13` is
    that of the book that it names, None where it could not be read or keeps no rule.
    """

    position: int
    line: int
    outcome: Outcome
    isbn13: str | None = None
    column: str | None = None
    value: str | None = None
    reason: str | None = None
    cells: Sequence[str] | None = None


class Ended(Exception):
    """The job was cancelled, or somebody else has gone on with it: leave it alone."""


_ADD_LINES = Bulk(
    "position INT, line INT, outcome VARCHAR(20), isbn13 VARCHAR(13), field VARCHAR(100),"
    " value VARCHAR(100), reason VARCHAR(500), cells LONGTEXT",
    """
    INSERT INTO job_lines (
        job_id, position, line, outcome, isbn13, field, value, reason, cells
    )
    SELECT :job_id, v.position, v.line, v.outcome, v.isbn13, v.field, v.value, v.reason, v.cells
    FROM {rows} AS v
    """,
)


async def add(
    conn: AsyncConnection,
    kind: Kind,
    *,
    user_id: int | None,
    file_id: int | None = None,
    options: Mapping[str, Any] | None = None,
    now: datetime,
    request_id: str | None = None,
) -> Job:
    """Write a job down as `queued`; it is worked on as soon as this is committed.

    A file that it reads is kept as long as the job.
    """
    inserted = await conn.execute(
        insert(jobs).values(
            kind=kind,
            state=State.QUEUED,
            user_id=user_id,
            file_id=file_id,
            options=dict(options or {}),
            findings={},
            read=0,
            created=0,
            updated=0,
            unchanged=0,
            refused=0,
            done=0,
            created_at=now,
            updated_at=now,
        )
    )
    job_id: int = inserted.lastrowid
    await outbox.add(conn, Task.RUN_JOBS, [job_id], now=now, request_ids={job_id: request_id})
    return await get(conn, job_id)


async def get(conn: AsyncConnection, job_id: int, kinds: Collection[Kind] = tuple(Kind)) -> Job:
    """A job of one of these kinds.

    Raises:
        NotFound: there is none.
    """
    found = None
    if 0 < job_id <= LARGEST_ID:
        query = select(jobs).where(jobs.c.id == job_id, jobs.c.kind.in_(kinds))
        found = (await conn.execute(query)).one_or_none()
    if found is None:
        raise NotFound("This job")
    return of_row(found)


async def find(
    conn: AsyncConnection,
    kinds: Collection[Kind] = tuple(Kind),
    *,
    state: State | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> Page[Job]:
    """Jobs of these kinds, the newest first.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    query = select(jobs).where(jobs.c.kind.in_(kinds)).order_by(jobs.c.id.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(jobs.c.state == state)
    if cursor is not None:
        query = query.where(jobs.c.id < decode(cursor, [int])[0])
    found = [of_row(row) for row in await conn.execute(query)]
    more = len(found) > limit
    return Page(found[:limit], encode(found[limit - 1].id) if more else None)


async def lines(
    conn: AsyncConnection,
    job_id: int,
    *,
    outcome: Outcome | None = None,
    after: int = -1,
    limit: int = 200,
) -> list[Line]:
    """What became of a job's lines, in the order of its file, from behind position `after`.

    Refused lines are always there, the others where every line is reported on.
    """
    query = (
        select(*(column for column in job_lines.c if column.name != "job_id"))
        .where(job_lines.c.job_id == job_id, job_lines.c.position > after)
        .order_by(job_lines.c.position)
        .limit(limit)
    )
    if outcome is not None:
        query = query.where(job_lines.c.outcome == outcome)
    return [line_of_row(row) for row in await conn.execute(query)]


async def unchecked(conn: AsyncConnection, job_id: int) -> set[int]:
    """The positions of those refused lines of an import that named no book."""
    found = await conn.scalars(
        select(job_lines.c.position).where(
            job_lines.c.job_id == job_id,
            job_lines.c.outcome == Outcome.REFUSED,
            job_lines.c.isbn13.is_(None),
        )
    )
    return set(found)


async def cancel(conn: AsyncConnection, job_id: int, *, user_id: int | None, now: datetime) -> Job:
    """End a job; what it has taken so far stays.

    Raises:
        NotFound: there is no such job.
        JobEnded: nothing more would happen to it anyway.
    """
    job = await get(conn, job_id)
    changed = await conn.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.in_([State.QUEUED, State.RUNNING]))
        .values(state=State.CANCELLED, updated_at=now, finished_at=now)
    )
    if changed.rowcount == 0:
        raise JobEnded((await get(conn, job_id)).state)
    await outbox.done(conn, Task.RUN_JOBS, [job_id])
    told = {"state": [job.state, State.CANCELLED]}
    await audit.record(conn, "cancel", "job", job_id, told, user_id=user_id, now=now)
    return await get(conn, job_id)


# For whoever works on a job


async def begin(conn: AsyncConnection, job_id: int, *, now: datetime) -> Job | None:
    """The job, now `running`; None when there is nothing to be done about it.

    One that failed runs again: only a replay of its dead task leads here.
    """
    changed = await conn.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.not_in([State.DONE, State.CANCELLED]))
        .values(state=State.RUNNING, error=None, finished_at=None, updated_at=now)
    )
    if changed.rowcount == 0:
        await outbox.done(conn, Task.RUN_JOBS, [job_id])
        return None
    await conn.execute(
        update(jobs).where(jobs.c.id == job_id, jobs.c.started_at.is_(None)).values(started_at=now)
    )
    return await get(conn, job_id)


async def advance(
    conn: AsyncConnection,
    job: Job,
    *,
    now: datetime,
    lines: Sequence[Line] = (),
    findings: Mapping[str, Any] | None = None,
    **numbers: int,
) -> Job:
    """Write down how far the job is, in the transaction of the work itself.

    `numbers` are those of the job that have changed, as they are now.  The task is put off,
    so that nobody else is asked to go on with the job meanwhile.

    Raises:
        Ended: the job is not as `job` says: roll back and leave it alone.
    """
    changes: dict[str, Any] = {"updated_at": now, **numbers}
    if findings is not None:
        changes["findings"] = dict(findings)
    changed = await conn.execute(
        update(jobs)
        .where(
            jobs.c.id == job.id,
            jobs.c.state == State.RUNNING,
            jobs.c.read == job.read,
            jobs.c.done == job.done,
        )
        .values(changes)
    )
    if changed.rowcount == 0:
        raise Ended
    if lines:
        await _ADD_LINES(conn, [_row(line) for line in lines], job_id=job.id)
    await outbox.got_on(conn, Task.RUN_JOBS, job.id, now=now)
    return replace(job, **changes)


async def finish(
    conn: AsyncConnection,
    job: Job,
    *,
    now: datetime,
    error: str | None = None,
    result_id: int | None = None,
    **numbers: int,
) -> Job:
    """End the job as `done`, or with an error as `failed`, and its task with it.

    Raises:
        Ended: it was cancelled meanwhile, or somebody else has ended it.
    """
    changed = await conn.execute(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.state == State.RUNNING)
        .values(
            state=State.FAILED if error else State.DONE,
            error=error,
            result_id=result_id,
            updated_at=now,
            finished_at=now,
            **numbers,
        )
    )
    if changed.rowcount == 0:
        raise Ended
    await outbox.done(conn, Task.RUN_JOBS, [job.id])
    return await get(conn, job.id)


async def give_up(conn: AsyncConnection, job_id: int, error: str, *, now: datetime) -> None:
    """Mark a job `failed` whose task was dead; staff may replay that."""
    await conn.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.not_in(ENDED))
        .values(state=State.FAILED, error=error, updated_at=now, finished_at=now)
    )


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Forget some of the jobs that ended long ago, with what became of their lines."""
    found = await conn.scalars(
        select(jobs.c.id)
        .where(jobs.c.state.in_(ENDED), jobs.c.finished_at < now - RETENTION)
        .order_by(jobs.c.id)
        .limit(_PURGED)
    )
    ids = list(found)
    for job_id in ids:
        await conn.execute(delete(job_lines).where(job_lines.c.job_id == job_id))
        await conn.execute(delete(jobs).where(jobs.c.id == job_id))
    return len(ids)


def _row(line: Line) -> tuple[Any, ...]:
    return (
        line.position,
        line.line,
        line.outcome,
        line.isbn13,
        line.column and line.column[:_FIELD],
        line.value and line.value[:_VALUE],
        line.reason and line.reason[:_REASON],
        # As text: MariaDB's JSON_TABLE gives NULL for a list.
        None if line.cells is None else json.dumps(line.cells, ensure_ascii=False),
    )


def of_row(row: Any) -> Job:
    """The job of a row, which may have further columns."""
    facts = {column.name: row._mapping[column.name] for column in jobs.c}
    return Job(**facts | {"kind": Kind.stored(row.kind), "state": State.stored(row.state)})


def line_of_row(row: Any) -> Line:
    """The line of a row, which may have further columns."""
    return Line(
        row.position,
        row.line,
        Outcome.stored(row.outcome),
        row.isbn13,
        row.field,
        row.value,
        row.reason,
        row.cells,
    )
