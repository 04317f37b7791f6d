"""Batches of rows that succeed or fail."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.batching import BatchProcessor
from bookstore import orders
from bookstore.database import engine as db
from bookstore.database.tables import tasks as rows
from bookstore.operations import doctor
from bookstore.orders import processing
from bookstore.orders.states import State
from bookstore.tasks import outbox
from bookstore.tasks.outbox import MAX_ATTEMPTS, Task
from tests.factories import NOON, add_book, republish_all_tasks


class Work:
    """A handler that records its calls; for the rows in `errors` it raises an exception."""

    def __init__(self) -> None:
        self.lists: list[list[int]] = []
        self.done: list[int] = []
        self.errors: dict[int, BaseException] = {}
        self.started = asyncio.Event()

    async def __call__(
        self, conn: AsyncConnection, ref_ids: Collection[int], /, **_: object
    ) -> None:
        self.lists.append(sorted(ref_ids))
        self.started.set()
        for ref_id in sorted(ref_ids):
            if ref_id in self.errors:
                raise self.errors[ref_id]
        self.done += ref_ids


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def batches(engine: AsyncEngine, work: Work) -> BatchProcessor:
    return BatchProcessor(
        engine, Task.PROCESS_ORDERS, work, worker="test", clock=lambda: datetime.now(UTC)
    )


async def add_tasks(engine, *ref_ids, attempts=0):
    async with db.transaction(engine) as conn:
        await outbox.add(conn, Task.PROCESS_ORDERS, ref_ids, now=NOON)
        if attempts:
            await conn.execute(
                update(rows).where(rows.c.ref_id.in_(ref_ids)).values(attempts=attempts)
            )


async def republish(engine):
    async with db.transaction(engine) as conn:
        await republish_all_tasks(conn)


async def unfinished(engine):
    async with db.reading(engine) as conn:
        return {row.ref_id: row for row in await outbox.find(conn)}


async def test_a_list_is_processed_in_one_transaction_and_deleted(engine, batches, work):
    await add_tasks(engine, 1, 2, 3)

    await batches.process([3, 1, 2], "m")

    assert work.lists == [[1, 2, 3]]
    assert await unfinished(engine) == {}


async def test_a_finished_row_is_not_processed_again(engine, batches, work):
    await add_tasks(engine, 1)
    await batches.process([1], "m")

    await batches.process([1], "m")

    assert work.done == [1]


async def test_a_failing_row_is_counted_and_the_others_are_processed(engine, batches, work):
    await add_tasks(engine, 1, 2, 3)
    work.errors[2] = ValueError("no such thing")

    await batches.process([1, 2, 3], "m")

    assert sorted(work.done) == [1, 3]
    row = (await unfinished(engine))[2]
    assert (row.attempts, row.dead_at, row.error) == (2, None, "ValueError: no such thing")


async def test_a_row_that_always_fails_is_dead_after_its_last_attempt(engine, batches, work):
    await add_tasks(engine, 1)
    work.errors[1] = ValueError("no such thing")

    for _ in range(MAX_ATTEMPTS + 3):
        await batches.process([1], "m")
        await republish(engine)

    row = (await unfinished(engine))[1]
    assert row.dead_at is not None
    assert row.attempts == MAX_ATTEMPTS
    assert len(work.lists) == MAX_ATTEMPTS


async def test_a_row_with_two_attempts_is_not_retried_before_its_delay(engine, batches, work):
    await add_tasks(engine, 1, 2)
    work.errors[2] = ValueError("no such thing")
    await batches.process([1, 2], "m")
    attempts_before = len(work.lists)

    await batches.process([2], "m")
    at_once = len(work.lists)
    await republish(engine)
    await batches.process([2], "m")

    row = (await unfinished(engine))[2]
    assert (at_once, len(work.lists)) == (attempts_before, attempts_before + 1)
    assert (row.attempts, row.publish_count) == (3, 0)
    assert row.due_at > datetime.now(UTC)


async def test_an_attempt_that_kills_its_worker_is_counted(engine, batches, work):
    await add_tasks(engine, 1)
    work.errors[1] = asyncio.CancelledError()  # The closest to a kill within one process.

    with pytest.raises((asyncio.CancelledError, TimeoutError)):
        async with asyncio.timeout(2):
            await batches.process([1], "m")

    assert (await unfinished(engine))[1].attempts == 1


async def test_a_row_that_killed_its_worker_each_time_is_dead_without_another_attempt(
    engine, batches, work
):
    await add_tasks(engine, 1, attempts=MAX_ATTEMPTS)

    await batches.process([1], "m")

    assert (await unfinished(engine))[1].dead_at is not None
    assert work.lists == []


async def test_retries_run_individually_and_after_new_rows(engine, batches, work):
    await add_tasks(engine, 1, attempts=2)
    await add_tasks(engine, 2, attempts=1)
    await add_tasks(engine, 3, 4)

    await batches.process([1, 2, 3, 4], "m")

    assert work.lists == [[3, 4], [2], [1]]


async def test_new_rows_wait_for_one_retry_and_not_for_all(engine, batches, work):
    await add_tasks(engine, 1, 2, 3, attempts=1)
    await add_tasks(engine, 4)
    old = asyncio.create_task(batches.process([1, 2, 3], "old"))
    await work.started.wait()

    await asyncio.gather(old, batches.process([4], "new"))

    assert work.lists == [[1], [4], [2], [3]]


async def test_no_other_batch_runs_during_a_retry(engine):
    started, steps = asyncio.Event(), []

    async def work(conn: AsyncConnection, ref_ids: Collection[int], /, **_: object) -> None:
        started.set()
        for _ in range(2):
            steps.append([*ref_ids])
            await asyncio.sleep(0.1)

    await add_tasks(engine, 1, 2, attempts=1)
    await add_tasks(engine, 3)
    batches = BatchProcessor(
        engine, Task.PROCESS_ORDERS, work, worker="test", clock=lambda: datetime.now(UTC)
    )
    old = asyncio.create_task(batches.process([1, 2], "old"))
    await started.wait()

    await asyncio.gather(old, batches.process([3], "new"))

    assert steps == [[1], [1], [3], [3], [2], [2]]


async def test_lists_that_wait_at_the_same_time_are_combined(engine, batches, work):
    await add_tasks(engine, *range(1, 10))
    first = asyncio.create_task(batches.process([1], "m"))
    await asyncio.sleep(0.001)

    await asyncio.gather(first, *(batches.process([ref_id], "m") for ref_id in range(2, 10)))

    assert work.lists == [[1], list(range(2, 10))]


async def test_a_database_outage_does_not_count_as_an_attempt(engine, batches, work):
    await add_tasks(engine, 1)
    connection_lost = OperationalError("SELECT 1", None, Exception(2013, "Lost connection"))
    connection_lost.connection_invalidated = True
    work.errors[1] = connection_lost

    for _ in range(2 * MAX_ATTEMPTS):
        with pytest.raises(OperationalError):
            await batches.process([1], "m")

    row = (await unfinished(engine))[1]
    assert (row.attempts, row.dead_at) == (0, None)


async def test_fifty_other_orders_are_confirmed_beside_an_order_that_always_fails(
    engine, place_order
):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=100)
    placed = [await place_order({dune: 1}) for _ in range(51)]
    failing = placed[25]

    async def process(
        conn: AsyncConnection,
        ref_ids: Collection[int],
        /,
        *,
        trace: processing.Trace,
        now: datetime,
    ) -> None:
        await processing.process(conn, ref_ids, trace=trace, now=now)
        if failing.id in ref_ids:
            raise ValueError("a bug")

    batches = BatchProcessor(
        engine, Task.PROCESS_ORDERS, process, worker="test", clock=lambda: datetime.now(UTC)
    )

    for _ in range(MAX_ATTEMPTS):
        await batches.process([order.id for order in placed], "m")
        await republish(engine)

    async with db.reading(engine) as conn:
        counts = await orders.count_by_state(conn)
        findings = [found async for found in doctor.examine(conn, now=NOON)]
        (dead,) = await outbox.find(conn, dead=True)
    assert (counts[State.CONFIRMED], counts[State.PLACED]) == (50, 1)
    assert findings == []
    assert dead.ref_id == failing.id


def four_workers(engine):
    return [
        BatchProcessor(
            engine,
            Task.PROCESS_ORDERS,
            processing.process,
            worker=f"test-{number}",
            clock=lambda: datetime.now(UTC),
        )
        for number in range(4)
    ]


async def test_two_workers_process_the_same_list_once(engine, place_order):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=7)
    placed = [await place_order({dune: 1}) for _ in range(10)]
    workers = four_workers(engine)

    await asyncio.gather(
        *(worker.process([order.id for order in placed], "m") for worker in workers)
    )

    async with db.reading(engine) as conn:
        counts = await orders.count_by_state(conn)
        findings = [found async for found in doctor.examine(conn, now=NOON)]
    assert (counts[State.CONFIRMED], counts[State.REJECTED]) == (7, 3)
    assert findings == []


async def test_concurrent_lists_for_the_same_books_are_all_processed(engine, place_order):
    async with db.transaction(engine) as conn:
        books = [await add_book(conn, stock=30) for _ in range(3)]
    placed = [await place_order(dict.fromkeys(books, 1)) for _ in range(40)]
    workers = four_workers(engine)

    await asyncio.gather(
        *(
            worker.process([order.id for order in placed[number::4]], "m")
            for number, worker in enumerate(workers)
        )
    )

    async with db.reading(engine) as conn:
        counts = await orders.count_by_state(conn)
        findings = [found async for found in doctor.examine(conn, now=NOON)]
    assert (counts[State.CONFIRMED], counts[State.REJECTED]) == (30, 10)
    assert findings == []


async def test_a_row_that_violates_a_database_constraint_becomes_dead(engine, batches, work):
    await add_tasks(engine, 1)
    work.errors[1] = OperationalError("UPDATE", None, Exception(4025, "CONSTRAINT failed"))

    for _ in range(MAX_ATTEMPTS):
        await batches.process([1], "m")
        await republish(engine)

    assert (await unfinished(engine))[1].dead_at is not None
