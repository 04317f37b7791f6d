"""Guards that complete tasks, and keep a bad task from affecting others."""

import asyncio
from collections import Counter
from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from actors import batching, relay
from actors.batching import BatchProcessor
from actors.embedded import workers
from bookstore.database import engine as db
from bookstore.tasks import outbox
from bookstore.tasks.outbox import MAX_ATTEMPTS, Task
from tests.factories import NOON, republish_all_tasks
from tests.faults.guards.scene import (
    NOTHING,
    batches,
    books,
    findings,
    place,
    unfinished,
)


async def test_task_deleted_in_the_transaction(engine, guarded, monkeypatch):
    complete = outbox.complete

    async def first_of_all(conn, task, ref_ids, **named):
        await complete(conn, task, ref_ids, **named)
        await conn.execute(text("COMMIT"))

    if not guarded:
        monkeypatch.setattr(outbox, "complete", first_of_all)
    (dune,) = await books(engine, stock=7)
    order = await place(engine, {dune: 1})

    async def fails(conn, ref_ids, /, **_named):
        raise ValueError("a bug")

    await batches(engine, fails).process([order.id], "m")

    broken = "every placed order has a processing task" in await findings(engine)
    assert broken != guarded


async def test_relay(engine, settings, guarded, monkeypatch):
    async def rest(self, *, alone):
        await asyncio.sleep(3600)

    if not guarded:
        monkeypatch.setattr(relay.Relay, "run", rest)
    (dune,) = await books(engine, stock=7)
    await place(engine, {dune: 1})  # No message is published for it.

    async with workers(settings):
        for _ in range(40):
            await asyncio.sleep(0.1)
            if not await unfinished(engine):
                break

    assert (not await unfinished(engine)) == guarded


class Died(asyncio.CancelledError):
    """Simulates a kill inside one process."""


async def restart_often(engine, ref_ids, killer):
    """Process a batch repeatedly, with one row that kills the worker each time."""
    worked = Counter()

    for _ in range(MAX_ATTEMPTS + 3):
        async with db.transaction(engine) as conn:
            await republish_all_tasks(conn)
        dying = asyncio.get_running_loop().create_future()

        async def work(conn, held, /, *, dying=dying, **_named):
            worked.update(list(held))
            if killer in held:
                dying.set_result(asyncio.current_task())
                raise Died

        asking = asyncio.create_task(batches(engine, work).process(ref_ids, "m"))
        await asyncio.wait([asking, dying], return_when=asyncio.FIRST_COMPLETED)
        if dying.done():
            await asyncio.wait([dying.result()])
        asking.cancel()  # No process is left to answer it.
        await asyncio.gather(asking, return_exceptions=True)
    return worked


async def give(engine, ref_ids):
    async with db.transaction(engine) as conn:
        await outbox.add(conn, Task.PROCESS_ORDERS, ref_ids, now=NOON)


async def test_attempt_counted_before_the_work(engine, guarded, monkeypatch):
    if not guarded:
        monkeypatch.setattr(outbox, "_COUNT_ATTEMPTS", NOTHING)
    await give(engine, [1])

    worked = await restart_often(engine, [1], killer=1)

    (row,) = await unfinished(engine)
    assert (row.dead_at is not None) == guarded
    assert (worked[1] <= MAX_ATTEMPTS) == guarded


async def test_second_attempt_alone(engine, guarded, monkeypatch):
    ready = BatchProcessor._ready

    async def all_alike(self, ref_ids):
        return dict.fromkeys(await ready(self, ref_ids), 0)

    if not guarded:
        monkeypatch.setattr(BatchProcessor, "_ready", all_alike)
    await give(engine, [1, 2, 3])

    await restart_often(engine, [1, 2, 3], killer=2)

    left = [row.ref_id for row in await unfinished(engine)]
    assert (left == [2]) == guarded


async def test_whole_transaction_again_after_a_deadlock(engine, guarded, monkeypatch):
    async def once(engine, service, *args, **kwargs):
        async with db.transaction(engine) as conn:
            return await service(conn, *args, **kwargs)

    if not guarded:
        monkeypatch.setattr(batching, "run_transaction", once)
    await give(engine, [1])
    tries = []

    async def work(conn, held, /, **_named):
        tries.append(held)
        if len(tries) == 1:
            raise OperationalError("UPDATE", None, Exception(1213, "Deadlock found"))

    with suppress(OperationalError):
        await batches(engine, work).process([1], "m")

    assert (not await unfinished(engine)) == guarded
