"""Lists of work, good ones and bad ones."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.batching import Batches
from bookstore import orders
from bookstore.database import engine as db
from bookstore.database.tables import tasks as rows
from bookstore.operations import doctor
from bookstore.orders import processing
from bookstore.orders.states import State
from bookstore.tasks import outbox
from bookstore.tasks.outbox import MAX_ATTEMPTS, Task
from tests.factories import NOON, add_book, come_by


class Work:
    """Writes down what it was given; raises what it is told to for a row."""

    def __init__(self) -> None:
        self.lists: list[list[int]] = []
        self.done: list[int] = []
        self.bad: dict[int, BaseException] = {}
        self.begun = asyncio.Event()

    async def __call__(
        self, conn: AsyncConnection, ref_ids: Collection[int], /, **_: object
    ) -> None:
        self.lists.append(sorted(ref_ids))
        self.begun.set()
        for ref_id in sorted(ref_ids):
            if ref_id in self.bad:
                raise self.bad[ref_id]
        self.done += ref_ids


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def batches(engine: AsyncEngine, work: Work) -> Batches:
    return Batches(
        engine, Task.PROCESS_ORDERS, work, worker="test", clock=lambda: datetime.now(UTC)
    )


async def give(engine, *ref_ids, attempts=0):
    async with db.transaction(engine) as conn:
        await outbox.add(conn, Task.PROCESS_ORDERS, ref_ids, now=NOON)
        if attempts:
            await conn.execute(
                update(rows).where(rows.c.ref_id.in_(ref_ids)).values(attempts=attempts)
            )


async def offer_again(engine):
    async with db.transaction(engine) as conn:
        await come_by(conn)


async def left(engine):
    async with db.reading(engine) as conn:
        return {row.ref_id: row for row in await outbox.find(conn)}


async def test_a_list_is_worked_off_in_one_go_and_forgotten(engine, batches, work):
    await give(engine, 1, 2, 3)

    await batches.work_off([3, 1, 2], "m")

    assert work.lists == [[1, 2, 3]]
    assert await left(engine) == {}


async def test_what_is_done_is_not_done_again(engine, batches, work):
    await give(engine, 1)
    await batches.work_off([1], "m")

    await batches.work_off([1], "m")

    assert work.done == [1]


async def test_a_bad_row_is_counted_and_the_others_are_done(engine, batches, work):
    await give(engine, 1, 2, 3)
    work.bad[2] = ValueError("no such thing")

    await batches.work_off([1, 2, 3], "m")

    assert sorted(work.done) == [1, 3]
    row = (await left(engine))[2]
    assert (row.attempts, row.dead_at, row.error) == (2, None, "ValueError: no such thing")


async def test_a_row_that_always_fails_is_parked_after_its_last_attempt(engine, batches, work):
    await give(engine, 1)
    work.bad[1] = ValueError("no such thing")

    for _ in range(MAX_ATTEMPTS + 3):
        await batches.work_off([1], "m")
        await offer_again(engine)

    row = (await left(engine))[1]
    assert row.dead_at is not None
    assert row.attempts == MAX_ATTEMPTS
    assert len(work.lists) == MAX_ATTEMPTS


async def test_a_row_that_was_tried_twice_is_left_alone_until_its_pause_is_over(
    engine, batches, work
):
    await give(engine, 1, 2)
    work.bad[2] = ValueError("no such thing")
    await batches.work_off([1, 2], "m")
    tried = len(work.lists)

    await batches.work_off([2], "m")
    at_once = len(work.lists)
    await offer_again(engine)
    await batches.work_off([2], "m")

    row = (await left(engine))[2]
    assert (at_once, len(work.lists)) == (tried, tried + 1)
    assert (row.attempts, row.publish_count) == (3, 0)
    assert row.due_at > datetime.now(UTC)


async def test_an_attempt_that_dies_with_its_worker_is_counted(engine, batches, work):
    await give(engine, 1)
    work.bad[1] = asyncio.CancelledError()  # As near to a kill as one process can come.

    with pytest.raises((asyncio.CancelledError, TimeoutError)):
        async with asyncio.timeout(2):
            await batches.work_off([1], "m")

    assert (await left(engine))[1].attempts == 1


async def test_a_row_that_took_its_worker_down_each_time_is_parked_without_another_try(
    engine, batches, work
):
    await give(engine, 1, attempts=MAX_ATTEMPTS)

    await batches.work_off([1], "m")

    assert (await left(engine))[1].dead_at is not None
    assert work.lists == []


async def test_what_was_tried_before_runs_alone_and_after_the_others(engine, batches, work):
    await give(engine, 1, attempts=2)
    await give(engine, 2, attempts=1)
    await give(engine, 3, 4)

    await batches.work_off([1, 2, 3, 4], "m")

    assert work.lists == [[3, 4], [2], [1]]


async def test_what_is_new_waits_for_one_of_those_tried_before_and_not_for_all(
    engine, batches, work
):
    await give(engine, 1, 2, 3, attempts=1)
    await give(engine, 4)
    old = asyncio.create_task(batches.work_off([1, 2, 3], "old"))
    await work.begun.wait()

    await asyncio.gather(old, batches.work_off([4], "new"))

    assert work.lists == [[1], [4], [2], [3]]


async def test_nothing_else_is_under_way_while_one_that_was_tried_before_runs(engine):
    begun, begun_and_ended = asyncio.Event(), []

    async def work(conn: AsyncConnection, ref_ids: Collection[int], /, **_: object) -> None:
        begun.set()
        for _ in range(2):
            begun_and_ended.append([*ref_ids])
            await asyncio.sleep(0.1)

    await give(engine, 1, 2, attempts=1)
    await give(engine, 3)
    batches = Batches(
        engine, Task.PROCESS_ORDERS, work, worker="test", clock=lambda: datetime.now(UTC)
    )
    old = asyncio.create_task(batches.work_off([1, 2], "old"))
    await begun.wait()

    await asyncio.gather(old, batches.work_off([3], "new"))

    assert begun_and_ended == [[1], [1], [3], [3], [2], [2]]


async def test_lists_that_wait_at_the_same_moment_are_joined(engine, batches, work):
    await give(engine, *range(1, 10))
    first = asyncio.create_task(batches.work_off([1], "m"))
    await asyncio.sleep(0.001)

    await asyncio.gather(first, *(batches.work_off([ref_id], "m") for ref_id in range(2, 10)))

    assert work.lists == [[1], list(range(2, 10))]


async def test_a_database_that_goes_away_costs_a_row_no_attempt(engine, batches, work):
    await give(engine, 1)
    gone = OperationalError("SELECT 1", None, Exception(2013, "Lost connection"))
    gone.connection_invalidated = True
    work.bad[1] = gone

    for _ in range(2 * MAX_ATTEMPTS):
        with pytest.raises(OperationalError):
            await batches.work_off([1], "m")

    row = (await left(engine))[1]
    assert (row.attempts, row.dead_at) == (0, None)


async def test_fifty_innocents_are_confirmed_beside_an_order_that_always_fails(engine, place_order):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=100)
    placed = [await place_order({dune: 1}) for _ in range(51)]
    bad = placed[25]

    async def process(
        conn: AsyncConnection,
        ref_ids: Collection[int],
        /,
        *,
        trace: processing.Trace,
        now: datetime,
    ) -> None:
        await processing.process(conn, ref_ids, trace=trace, now=now)
        if bad.id in ref_ids:
            raise ValueError("a bug")

    batches = Batches(
        engine, Task.PROCESS_ORDERS, process, worker="test", clock=lambda: datetime.now(UTC)
    )

    for _ in range(MAX_ATTEMPTS):
        await batches.work_off([order.id for order in placed], "m")
        await offer_again(engine)

    async with db.reading(engine) as conn:
        counts = await orders.count_by_state(conn)
        findings = [found async for found in doctor.examine(conn, now=NOON)]
        (dead,) = await outbox.find(conn, dead=True)
    assert (counts[State.CONFIRMED], counts[State.PLACED]) == (50, 1)
    assert findings == []
    assert dead.ref_id == bad.id


def four_workers(engine):
    return [
        Batches(
            engine,
            Task.PROCESS_ORDERS,
            processing.process,
            worker=f"test-{number}",
            clock=lambda: datetime.now(UTC),
        )
        for number in range(4)
    ]


async def test_two_workers_with_the_same_list_do_it_once(engine, place_order):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=7)
    placed = [await place_order({dune: 1}) for _ in range(10)]
    workers = four_workers(engine)

    await asyncio.gather(
        *(worker.work_off([order.id for order in placed], "m") for worker in workers)
    )

    async with db.reading(engine) as conn:
        counts = await orders.count_by_state(conn)
        findings = [found async for found in doctor.examine(conn, now=NOON)]
    assert (counts[State.CONFIRMED], counts[State.REJECTED]) == (7, 3)
    assert findings == []


async def test_two_lists_that_want_the_same_copies_both_come_through(engine, place_order):
    async with db.transaction(engine) as conn:
        books = [await add_book(conn, stock=30) for _ in range(3)]
    placed = [await place_order(dict.fromkeys(books, 1)) for _ in range(40)]
    workers = four_workers(engine)

    await asyncio.gather(
        *(
            worker.work_off([order.id for order in placed[number::4]], "m")
            for number, worker in enumerate(workers)
        )
    )

    async with db.reading(engine) as conn:
        counts = await orders.count_by_state(conn)
        findings = [found async for found in doctor.examine(conn, now=NOON)]
    assert (counts[State.CONFIRMED], counts[State.REJECTED]) == (30, 10)
    assert findings == []


async def test_a_row_that_breaks_a_rule_of_the_database_is_parked_at_last(engine, batches, work):
    await give(engine, 1)
    work.bad[1] = OperationalError("UPDATE", None, Exception(4025, "CONSTRAINT failed"))

    for _ in range(MAX_ATTEMPTS):
        await batches.work_off([1], "m")
        await offer_again(engine)

    assert (await left(engine))[1].dead_at is not None
