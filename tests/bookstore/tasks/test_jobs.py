"""Jobs: several limited runs, each line counted once, also with kills and concurrent workers."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from bookstore.database.engine import announcing, reading, transaction
from bookstore.errors import Invalid, JobEnded, NotFound
from bookstore.tasks import jobs, outbox
from bookstore.tasks.job_runner import JobRunner
from bookstore.tasks.jobs import JobConflict, JobKind, JobLine, JobState, LineOutcome
from bookstore.tasks.outbox import MAX_ATTEMPTS, Task, TaskRef
from tests.factories import NOON, add_user

LATER = NOON + timedelta(days=91)


class ThreeRuns:
    """A handler with three runs, one line in each; raises `error` if it is set."""

    def __init__(self, engine):
        self.engine = engine
        self.error = None
        self.started = 0

    async def __call__(self, job, /, *, time_limit_s, on_progress):
        self.started += 1
        if self.error:
            raise self.error
        async with transaction(self.engine) as conn:
            line = JobLine(
                job.read, job.read + 2, LineOutcome.REFUSED, None, "isbn", "1", "No.", ["1"]
            )
            job = await jobs.advance(
                conn, job, now=NOON, lines=[line], read=job.read + 1, refused=job.read + 1, done=0
            )
        if job.read < 3:
            return True
        async with transaction(self.engine) as conn:
            await jobs.finish(conn, job, now=NOON)
        return False


@pytest.fixture
def handler(engine):
    return ThreeRuns(engine)


@pytest.fixture
def runner(engine, handler):
    return JobRunner(engine, {JobKind.IMPORT_BOOKS: handler}, clock=lambda: NOON)


@pytest.fixture
async def job(engine):
    async with transaction(engine) as conn:
        return await jobs.add(conn, JobKind.IMPORT_BOOKS, user_id=None, options={"a": 1}, now=NOON)


async def now(engine, job):
    async with reading(engine) as conn:
        return await jobs.get(conn, job.id)


async def task_of(engine):
    async with reading(engine) as conn:
        return next(iter(await outbox.find(conn)), None)


async def test_a_job_runs_step_by_step_and_its_task_is_deleted_at_the_end(engine, handler, job):
    published = []
    runner = JobRunner(
        announcing(engine, published.extend), {JobKind.IMPORT_BOOKS: handler}, clock=lambda: NOON
    )

    assert [await runner.run(job.id) for _ in range(4)] == [True, True, False, False]

    job = await now(engine, job)
    assert (job.state, job.read, job.refused, job.started_at, job.finished_at) == (
        JobState.DONE,
        3,
        3,
        NOON,
        NOON,
    )
    assert published == [TaskRef(Task.RUN_JOBS, job.id)] * 2
    assert await task_of(engine) is None
    async with reading(engine) as conn:
        lines = (await jobs.lines(conn, job.id, outcome=LineOutcome.REFUSED)).items
        first = await jobs.lines(conn, job.id, limit=2)
        second = await jobs.lines(conn, job.id, cursor=first.next, limit=2)
        assert first.items + second.items == lines
    assert [line.line for line in lines] == [2, 3, 4]
    assert (lines[0].column, lines[0].cells) == ("isbn", ["1"])


async def test_progress_resets_the_attempts_of_a_job(engine, runner, job):
    for _ in range(2):
        await runner.run(job.id)

    task = await task_of(engine)
    assert (task.attempts, task.due_at) == (0, NOON + outbox.GRACE)


async def test_a_refusal_ends_the_job_with_its_reason(engine, runner, handler, job):
    handler.error = Invalid("file", "This is no list of books.")

    assert await runner.run(job.id) is False

    job = await now(engine, job)
    assert (job.state, job.error) == (JobState.FAILED, "This is no list of books.")
    assert await task_of(engine) is None


async def test_an_unexpected_error_is_retried_until_dead_and_can_be_replayed(
    engine, runner, handler, job
):
    handler.error = ValueError("no such thing")

    assert [await runner.run(job.id) for _ in range(MAX_ATTEMPTS)] == [True] * 4 + [False]
    assert await runner.run(job.id) is False

    assert handler.started == MAX_ATTEMPTS
    assert (await now(engine, job)).state is JobState.FAILED
    task = await task_of(engine)
    assert (task.dead_at, task.error) == (NOON, "ValueError: no such thing")
    handler.error = None
    async with transaction(engine) as conn:
        await outbox.replay(conn, task.id, user_id=None, now=NOON)
    while await runner.run(job.id):
        pass
    assert (await now(engine, job)).state is JobState.DONE


async def test_a_job_that_killed_its_worker_each_time_is_dead_without_another_attempt(
    engine, runner, handler, job
):
    async with transaction(engine) as conn:
        for _ in range(MAX_ATTEMPTS):
            await outbox.start_attempts(conn, Task.RUN_JOBS, [job.id])

    assert await runner.run(job.id) is False

    assert handler.started == 0
    assert (await now(engine, job)).state is JobState.FAILED
    assert (await task_of(engine)).dead_at == NOON


async def test_a_database_outage_does_not_count_as_an_attempt_of_the_job(
    engine, runner, handler, job
):
    handler.error = OperationalError("", {}, OSError(2013, "gone"))

    with pytest.raises(OperationalError):
        await runner.run(job.id)

    assert (await task_of(engine)).attempts == 0


async def test_concurrent_work_of_two_workers_is_counted_once(engine, job):
    async with transaction(engine) as conn:
        first = await jobs.begin(conn, job.id, now=NOON)
        second = await jobs.begin(conn, job.id, now=NOON)
        await jobs.advance(conn, first, now=NOON, read=200, created=200)

    with pytest.raises(JobConflict):
        async with transaction(engine) as conn:
            await jobs.advance(conn, second, now=NOON, read=200, created=200)

    assert (await now(engine, job)).read == 200


async def test_a_cancelled_job_is_not_continued(engine, runner, job):
    await runner.run(job.id)
    async with reading(engine) as conn:
        running = await jobs.get(conn, job.id)
    async with transaction(engine) as conn:
        user_id = await add_user(conn)
        cancelled = await jobs.cancel(conn, job.id, user_id=user_id, now=NOON)

    assert (cancelled.state, cancelled.read) == (JobState.CANCELLED, 1)
    assert await runner.run(job.id) is False
    async with transaction(engine) as conn:
        with pytest.raises(JobConflict):
            await jobs.advance(conn, running, now=NOON, read=2)
        with pytest.raises(JobEnded):
            await jobs.cancel(conn, job.id, user_id=user_id, now=NOON)
    assert await task_of(engine) is None


async def test_jobs_are_listed_by_kind_newest_first(conn):
    first, export, second = [
        await jobs.add(conn, kind, user_id=None, now=NOON)
        for kind in (JobKind.IMPORT_BOOKS, JobKind.EXPORT_BOOKS, JobKind.IMPORT_BOOKS)
    ]

    first_page = await jobs.find(conn, jobs.IMPORTS, limit=1)
    second_page = await jobs.find(conn, jobs.IMPORTS, limit=1, cursor=first_page.next)

    assert [first_page.items, second_page.items, second_page.next] == [[second], [first], None]
    with pytest.raises(NotFound):
        await jobs.get(conn, export.id, jobs.IMPORTS)


async def test_old_jobs_are_deleted_with_their_lines_and_running_ones_are_not(engine, runner, job):
    async with transaction(engine) as conn:
        await jobs.add(conn, JobKind.IMPORT_BOOKS, user_id=None, now=NOON)
    while await runner.run(job.id):
        pass

    async with transaction(engine) as conn:
        assert await jobs.purge(conn, now=NOON) == 0
        assert await jobs.purge(conn, now=LATER) == 1

        assert (await jobs.lines(conn, job.id)).items == []
        assert len((await jobs.find(conn)).items) == 1
