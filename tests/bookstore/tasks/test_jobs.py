"""Jobs: worked off in slices, counted once, whoever is killed or comes twice."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from bookstore.database.engine import announcing, reading, transaction
from bookstore.errors import Invalid, JobEnded, NotFound
from bookstore.tasks import jobs, outbox
from bookstore.tasks.job_runner import Runner
from bookstore.tasks.jobs import Ended, Kind, Line, Outcome, State
from bookstore.tasks.outbox import MAX_ATTEMPTS, Offer, Task
from tests.factories import NOON, add_user

LATER = NOON + timedelta(days=91)


class Counting:
    """Counts to three, a number for each slice; raises what it is told to."""

    def __init__(self, engine):
        self.engine = engine
        self.error = None
        self.started = 0

    async def __call__(self, job, /, *, slice_s, watch):
        self.started += 1
        if self.error:
            raise self.error
        async with transaction(self.engine) as conn:
            line = Line(job.read, job.read + 2, Outcome.REFUSED, None, "isbn", "1", "No.", ["1"])
            job = await jobs.advance(
                conn, job, now=NOON, lines=[line], read=job.read + 1, refused=job.read + 1, done=0
            )
        if job.read < 3:
            return True
        async with transaction(self.engine) as conn:
            await jobs.finish(conn, job, now=NOON)
        return False


@pytest.fixture
def work(engine):
    return Counting(engine)


@pytest.fixture
def runner(engine, work):
    return Runner(engine, {Kind.IMPORT_BOOKS: work}, clock=lambda: NOON)


@pytest.fixture
async def job(engine):
    async with transaction(engine) as conn:
        return await jobs.add(conn, Kind.IMPORT_BOOKS, user_id=None, options={"a": 1}, now=NOON)


async def now(engine, job):
    async with reading(engine) as conn:
        return await jobs.get(conn, job.id)


async def task_of(engine):
    async with reading(engine) as conn:
        return next(iter(await outbox.find(conn)), None)


async def test_a_job_is_worked_off_slice_by_slice_and_its_task_goes_with_it(engine, work, job):
    offered = []
    runner = Runner(
        announcing(engine, offered.extend), {Kind.IMPORT_BOOKS: work}, clock=lambda: NOON
    )

    assert [await runner.run(job.id) for _ in range(4)] == [True, True, False, False]

    job = await now(engine, job)
    assert (job.state, job.read, job.refused, job.started_at, job.finished_at) == (
        State.DONE,
        3,
        3,
        NOON,
        NOON,
    )
    assert offered == [Offer(Task.RUN_JOBS, job.id)] * 2
    assert await task_of(engine) is None
    async with reading(engine) as conn:
        lines = await jobs.lines(conn, job.id, outcome=Outcome.REFUSED)
        assert await jobs.lines(conn, job.id, after=1) == lines[2:]
    assert [line.line for line in lines] == [2, 3, 4]
    assert (lines[0].column, lines[0].cells) == ("isbn", ["1"])


async def test_progress_gives_a_job_its_attempts_back(engine, runner, job):
    for _ in range(2):
        await runner.run(job.id)

    task = await task_of(engine)
    assert (task.attempts, task.due_at) == (0, NOON + outbox.GRACE)


async def test_a_refusal_ends_the_job_and_says_why(engine, runner, work, job):
    work.error = Invalid("file", "This is no list of books.")

    assert await runner.run(job.id) is False

    job = await now(engine, job)
    assert (job.state, job.error) == (State.FAILED, "This is no list of books.")
    assert await task_of(engine) is None


async def test_a_fault_of_ours_is_tried_again_and_parked_and_can_be_replayed(
    engine, runner, work, job
):
    work.error = ValueError("no such thing")

    assert [await runner.run(job.id) for _ in range(MAX_ATTEMPTS)] == [True] * 4 + [False]
    assert await runner.run(job.id) is False

    assert work.started == MAX_ATTEMPTS
    assert (await now(engine, job)).state is State.FAILED
    task = await task_of(engine)
    assert (task.dead_at, task.error) == (NOON, "ValueError: no such thing")
    work.error = None
    async with transaction(engine) as conn:
        await outbox.replay(conn, task.id, user_id=None, now=NOON)
    while await runner.run(job.id):
        pass
    assert (await now(engine, job)).state is State.DONE


async def test_a_job_that_takes_its_worker_down_each_time_is_parked_untried(
    engine, runner, work, job
):
    async with transaction(engine) as conn:
        for _ in range(MAX_ATTEMPTS):
            await outbox.start(conn, Task.RUN_JOBS, [job.id])

    assert await runner.run(job.id) is False

    assert work.started == 0
    assert (await now(engine, job)).state is State.FAILED
    assert (await task_of(engine)).dead_at == NOON


async def test_a_database_that_is_away_is_no_fault_of_the_job(engine, runner, work, job):
    work.error = OperationalError("", {}, OSError(2013, "gone"))

    with pytest.raises(OperationalError):
        await runner.run(job.id)

    assert (await task_of(engine)).attempts == 0


async def test_what_two_workers_do_at_once_is_counted_once(engine, job):
    async with transaction(engine) as conn:
        first = await jobs.begin(conn, job.id, now=NOON)
        second = await jobs.begin(conn, job.id, now=NOON)
        await jobs.advance(conn, first, now=NOON, read=200, created=200)

    with pytest.raises(Ended):
        async with transaction(engine) as conn:
            await jobs.advance(conn, second, now=NOON, read=200, created=200)

    assert (await now(engine, job)).read == 200


async def test_a_job_that_is_cancelled_is_left_alone(engine, runner, job):
    await runner.run(job.id)
    async with reading(engine) as conn:
        running = await jobs.get(conn, job.id)
    async with transaction(engine) as conn:
        user_id = await add_user(conn)
        cancelled = await jobs.cancel(conn, job.id, user_id=user_id, now=NOON)

    assert (cancelled.state, cancelled.read) == (State.CANCELLED, 1)
    assert await runner.run(job.id) is False
    async with transaction(engine) as conn:
        with pytest.raises(Ended):
            await jobs.advance(conn, running, now=NOON, read=2)
        with pytest.raises(JobEnded):
            await jobs.cancel(conn, job.id, user_id=user_id, now=NOON)
    assert await task_of(engine) is None


async def test_jobs_are_listed_by_kind_the_newest_first(conn):
    first, export, second = [
        await jobs.add(conn, kind, user_id=None, now=NOON)
        for kind in (Kind.IMPORT_BOOKS, Kind.EXPORT_BOOKS, Kind.IMPORT_BOOKS)
    ]

    page = await jobs.find(conn, jobs.IMPORTS, limit=1)
    rest = await jobs.find(conn, jobs.IMPORTS, limit=1, cursor=page.next)

    assert [page.items, rest.items, rest.next] == [[second], [first], None]
    with pytest.raises(NotFound):
        await jobs.get(conn, export.id, jobs.IMPORTS)


async def test_old_jobs_are_forgotten_with_their_lines_and_running_ones_are_not(
    engine, runner, job
):
    async with transaction(engine) as conn:
        await jobs.add(conn, Kind.IMPORT_BOOKS, user_id=None, now=NOON)
    while await runner.run(job.id):
        pass

    async with transaction(engine) as conn:
        assert await jobs.purge(conn, now=NOON) == 0
        assert await jobs.purge(conn, now=LATER) == 1

        assert await jobs.lines(conn, job.id) == []
        assert len((await jobs.find(conn)).items) == 1
