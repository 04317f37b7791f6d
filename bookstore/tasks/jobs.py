"""Jobs: imports, exports and bulk changes, which take longer than a request may.

    queued ──> running ──> done
       │          ├──────> failed     (its error says why; the work so far stays)
       └──────────┴──────> cancelled  (the same)

A job is processed in several runs of limited length (`bookstore/tasks/job_runner.py`).  Its row
has the progress, which is committed together with the work, so a run continues there after a crash.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.database.pagination import LARGEST_ID, Page, SortOrder, select_page
from bookstore.database.statements import Bulk
from bookstore.database.tables import job_lines, jobs
from bookstore.errors import JobEnded, NotFound
from bookstore.stored_enum import StoredEnum
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task

#: How long an ended job and the outcomes of its lines are stored.
RETENTION = timedelta(days=90)
#: Jobs deleted in one transaction.
_PURGE_BATCH = 10
#: The lengths of the columns of `job_lines`.  Texts for people are shortened before.
_FIELD, _VALUE, _REASON = 100, 100, 500


class JobKind(StoredEnum):
    """What a job does."""

    IMPORT_BOOKS = "import-books"
    EXPORT_BOOKS = "export-books"
    EXPORT_ORDERS = "export-orders"
    #: All rows of a list in the dashboard (`backoffice/list_exports.py`).
    EXPORT_LIST = "export-list"
    #: A planned change of many rows is applied or undone (`backoffice/bulk_changes.py`).
    CHANGE_MANY = "change-many"


IMPORTS = (JobKind.IMPORT_BOOKS,)
EXPORTS = (JobKind.EXPORT_BOOKS, JobKind.EXPORT_ORDERS)


class JobState(StoredEnum):
    """The state of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: Final states, unless staff replay the dead task of a failed job.
ENDED = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


class LineOutcome(StoredEnum):
    """What the import did with a line."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Job:
    """A job; `read` is the sum of the four numbers after it.

    `file_id` is the file that it reads, `result_id` the file that it wrote.  `done` of `total` is
    its progress, in bytes or rows; `total` is None until it is known.  `findings` say what the
    import detected about its file (encoding, columns) and by which rules.
    """

    id: int
    kind: JobKind
    state: JobState
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
        """The progress, from 0 to 1."""
        if self.state is JobState.DONE:
            return 1.0
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class JobLine:
    """The outcome of one line of an import; `line` is its number in the file, from 1.

    For a refused line, `column`, the shortened `value` and `reason` say why (`column` is None when
    the reason is about the whole line), and `cells` are the row as in the file.  `isbn13` is the
    ISBN of the line's book, None when it is missing or invalid.
    """

    position: int
    line: int
    outcome: LineOutcome
    isbn13: str | None = None
    column: str | None = None
    value: str | None = None
    reason: str | None = None
    cells: Sequence[str] | None = None


class JobConflict(Exception):
    """The job was cancelled, or another worker has continued it.  Roll back and stop."""


_ADD_LINES = Bulk(
    "position INT, line INT, outcome VARCHAR(20), isbn13 VARCHAR(13), field VARCHAR(100),"
    " value VARCHAR(100), reason VARCHAR(500), cells LONGTEXT",
    """
    INSERT INTO job_lines (job_id, position, line, outcome, isbn13, field, value, reason, cells)
    SELECT :job_id, v.position, v.line, v.outcome, v.isbn13, v.field, v.value, v.reason, v.cells
    FROM {rows} AS v
    """,
)


async def add(
    conn: AsyncConnection,
    kind: JobKind,
    *,
    user_id: int | None,
    file_id: int | None = None,
    options: Mapping[str, Any] | None = None,
    now: datetime,
    request_id: str | None = None,
) -> Job:
    """Add a job as `queued`; a worker starts it when this transaction is committed.

    A file that it reads is stored as long as the job.
    """
    inserted = await conn.execute(
        insert(jobs)
        .values(kind=kind, state=JobState.QUEUED, user_id=user_id, file_id=file_id)
        .values(options=dict(options or {}), findings={}, created_at=now, updated_at=now)
        .values(read=0, created=0, updated=0, unchanged=0, refused=0, done=0)
    )
    job_id: int = inserted.lastrowid
    await outbox.add(conn, Task.RUN_JOBS, [job_id], now=now, request_ids={job_id: request_id})
    return await get(conn, job_id)


async def get(
    conn: AsyncConnection, job_id: int, kinds: Collection[JobKind] = tuple(JobKind)
) -> Job:
    """A job of one of these kinds.

    Raises:
        NotFound: there is no such job.
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
    kinds: Collection[JobKind] = tuple(JobKind),
    *,
    state: JobState | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> Page[Job]:
    """Jobs of these kinds, newest first.

    Raises:
        Invalid: the cursor is not from this list.
    """
    query = select(jobs).where(jobs.c.kind.in_(kinds))
    if state is not None:
        query = query.where(jobs.c.state == state)
    newest_first = SortOrder((jobs.c.id,), descending=True)
    page = await select_page(conn, query, newest_first, cursor=cursor, limit=limit)
    return page.with_items([of_row(row) for row in page.items])


async def lines(
    conn: AsyncConnection,
    job_id: int,
    *,
    outcome: LineOutcome | None = None,
    cursor: str | None = None,
    limit: int = 200,
) -> Page[JobLine]:
    """The outcomes of a job's lines, in file order.

    Refused lines are always recorded; the others only if the job reports every line.

    Raises:
        Invalid: the cursor is not from this list.
    """
    columns = (column for column in job_lines.c if column.name != "job_id")
    query = select(*columns).where(job_lines.c.job_id == job_id)
    if outcome is not None:
        query = query.where(job_lines.c.outcome == outcome)
    in_file_order = SortOrder((job_lines.c.position,))
    page = await select_page(conn, query, in_file_order, cursor=cursor, limit=limit)
    return page.with_items([line_of_row(row) for row in page.items])


async def positions_without_isbn(conn: AsyncConnection, job_id: int) -> set[int]:
    """The positions of the refused lines of an import that have no valid ISBN."""
    refused = (job_lines.c.job_id == job_id) & (job_lines.c.outcome == LineOutcome.REFUSED)
    query = select(job_lines.c.position).where(refused, job_lines.c.isbn13.is_(None))
    return set(await conn.scalars(query))


async def cancel(conn: AsyncConnection, job_id: int, *, user_id: int | None, now: datetime) -> Job:
    """Cancel a job; the work so far stays.

    Raises:
        NotFound: there is no such job.
        JobEnded: it has ended already.
    """
    job = await get(conn, job_id)
    changed = await conn.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.in_([JobState.QUEUED, JobState.RUNNING]))
        .values(state=JobState.CANCELLED, updated_at=now, finished_at=now)
    )
    if changed.rowcount == 0:
        raise JobEnded((await get(conn, job_id)).state)
    await outbox.complete(conn, Task.RUN_JOBS, [job_id])
    changes = {"state": [job.state, JobState.CANCELLED]}
    await audit.record(conn, "cancel", "job", job_id, changes, user_id=user_id, now=now)
    return await get(conn, job_id)


# For the job runner and its handlers


async def begin(conn: AsyncConnection, job_id: int, *, now: datetime) -> Job | None:
    """The job, now `running`; None when it is done or cancelled.

    A failed job runs again: this happens only after a replay of its dead task.
    """
    changed = await conn.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.not_in([JobState.DONE, JobState.CANCELLED]))
        .values(state=JobState.RUNNING, error=None, finished_at=None, updated_at=now)
    )
    if changed.rowcount == 0:
        await outbox.complete(conn, Task.RUN_JOBS, [job_id])
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
    lines: Sequence[JobLine] = (),
    findings: Mapping[str, Any] | None = None,
    **numbers: int,
) -> Job:
    """Record the progress of the job, in the transaction of the work itself.

    `numbers` are the new values of the job's counters that changed.  The task is rescheduled, so
    that no other worker gets a message about the job meanwhile.

    Raises:
        JobConflict: the stored job differs from `job`: roll back and stop.
    """
    changes: dict[str, Any] = {"updated_at": now, **numbers}
    if findings is not None:
        changes["findings"] = dict(findings)
    same_progress = (jobs.c.read == job.read) & (jobs.c.done == job.done)
    await _update_running(conn, job, same_progress, changes)
    if lines:
        await _ADD_LINES(conn, [_row(line) for line in lines], job_id=job.id)
    await outbox.record_progress(conn, Task.RUN_JOBS, job.id, now=now)
    return replace(job, **changes)


async def finish(
    conn: AsyncConnection,
    job: Job,
    /,
    *,
    now: datetime,
    error: str | None = None,
    result_id: int | None = None,
    **numbers: int,
) -> Job:
    """End the job as `done`, or as `failed` with an error, and complete its task.

    Raises:
        JobConflict: it was cancelled meanwhile, or another worker has ended it.
    """
    state = JobState.FAILED if error else JobState.DONE
    ended = {"state": state, "error": error, "updated_at": now, "finished_at": now}
    await _update_running(conn, job, true(), {"result_id": result_id, **ended, **numbers})
    await outbox.complete(conn, Task.RUN_JOBS, [job.id])
    return await get(conn, job.id)


async def _update_running(
    conn: AsyncConnection, job: Job, condition: ColumnElement[bool], values: Mapping[str, Any]
) -> None:
    running = (jobs.c.id == job.id) & (jobs.c.state == JobState.RUNNING) & condition
    changed = await conn.execute(update(jobs).where(running).values(values))
    if changed.rowcount == 0:
        raise JobConflict


async def mark_failed(conn: AsyncConnection, job_id: int, error: str, *, now: datetime) -> None:
    """Mark a job as `failed` because its task is dead; staff may replay the task."""
    await conn.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.not_in(ENDED))
        .values(state=JobState.FAILED, error=error, updated_at=now, finished_at=now)
    )


async def give_up(conn: AsyncConnection, job_id: int, error: str, *, now: datetime) -> None:
    """End a job whose dead task is discarded as `failed`; a job that is done stays as it is."""
    await conn.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state.not_in([JobState.DONE, JobState.CANCELLED]))
        .values(
            state=JobState.FAILED,
            error=error,
            updated_at=now,
            finished_at=func.coalesce(jobs.c.finished_at, now),
        )
    )


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Delete up to 10 jobs that ended before `RETENTION`, with their lines; how many there were."""
    found = await conn.scalars(
        select(jobs.c.id)
        .where(jobs.c.state.in_(ENDED), jobs.c.finished_at < now - RETENTION)
        .order_by(jobs.c.id)
        .limit(_PURGE_BATCH)
    )
    ids = list(found)
    for job_id in ids:
        await conn.execute(delete(job_lines).where(job_lines.c.job_id == job_id))
        await conn.execute(delete(jobs).where(jobs.c.id == job_id))
    return len(ids)


def _row(line: JobLine) -> tuple[Any, ...]:
    return (
        line.position,
        line.line,
        line.outcome,
        line.isbn13,
        line.column and line.column[:_FIELD],
        line.value and line.value[:_VALUE],
        line.reason and line.reason[:_REASON],
        # As text, because MariaDB's JSON_TABLE returns NULL for a list.
        None if line.cells is None else json.dumps(line.cells, ensure_ascii=False),
    )


def of_row(row: Any) -> Job:
    """The job of a row, which may have further columns."""
    facts = {column.name: row._mapping[column.name] for column in jobs.c}
    return Job(**facts | {"kind": JobKind.stored(row.kind), "state": JobState.stored(row.state)})


def line_of_row(row: Any) -> JobLine:
    """The line of a row, which may have further columns."""
    refusal = row.field, row.value, row.reason, row.cells
    return JobLine(row.position, row.line, LineOutcome.stored(row.outcome), row.isbn13, *refusal)
