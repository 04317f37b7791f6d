"""Many customers at the same moment, through real processes."""

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack

import dramatiq
import pytest

from actors.broker import StoreBroker
from bookstore.tasks.publisher import QUEUES
from tests.faults.figures import figure
from tests.faults.journal import Customer
from tests.faults.store import COPIES, OneWorker, ScaledOut, all_accepted, ask_all

BUYERS, LAST_COPIES, ROUNDS = 200, 7, figure(1, 100)
REPEATS, WITHIN_S = 1000, 5.0
CANCELLERS = figure(100, 1000)
#: Orders, and how often each of their three messages is delivered.
REPEATED, TIMES = figure(40, 400), 5


class TwoWorkers(OneWorker):
    """Actors in two processes, to race with each other."""

    command = ("-m", "dramatiq", "actors", "-p", "2", "-t", "4")


@pytest.fixture(scope="module")
def store(mariadb, rabbitmq, tmp_path_factory):
    folder = tmp_path_factory.mktemp("races")
    with ScaledOut(mariadb, rabbitmq, folder, "races", workers=TwoWorkers) as store:
        store.start()
        yield store


def state_counts(store, since):
    rows = store.rows(
        "SELECT status, COUNT(*) AS number FROM orders WHERE id > %s GROUP BY status", since
    )
    return {row["status"]: row["number"] for row in rows}


def last_order(store):
    return store.value("SELECT COALESCE(MAX(id), 0) FROM orders")


async def test_two_hundred_buyers_for_seven_copies(store):
    book = store.books[0]
    for _ in range(ROUNDS):
        since = last_order(store)
        async with AsyncExitStack() as stack:
            customers = await store.customers(stack, BUYERS, [book])
            store.set_stock(book, LAST_COPIES)
            await all_accepted(customers)
        await asyncio.to_thread(store.wait_until_idle)

        counts = state_counts(store, since)
        left = store.value("SELECT stock FROM book_stock WHERE book_id = %s", book)
        store.set_stock(book, COPIES)

        assert counts == {"confirmed": LAST_COPIES, "rejected": BUYERS - LAST_COPIES}
        assert left == 0
    assert await store.findings() == []


async def test_a_thousand_requests_with_one_key_are_one_order(store, record_property):
    since = last_order(store)

    async def ask_later(customer, number):
        await asyncio.sleep(WITHIN_S * number / REPEATS)
        return await customer.ask_for_order()

    async with AsyncExitStack() as stack:
        (customer,) = await store.customers(stack, 1)
        statuses = Counter(
            await asyncio.gather(*(ask_later(customer, number) for number in range(REPEATS)))
        )
    await asyncio.to_thread(store.wait_until_idle)

    record_property("answers", dict(statuses))
    assert set(statuses) <= {202, 409}
    assert statuses[202] > REPEATS / 2
    assert state_counts(store, since) == {"confirmed": 1}
    assert await store.findings() == []


async def test_cancelling_races_processing_and_one_of_them_wins(store, record_property):
    since = last_order(store)
    dice = random.Random(11)

    async def order_and_cancel(customer):
        assert await customer.ask_for_order() == 202
        await asyncio.sleep(dice.uniform(0, 0.03))
        return await customer.ask_to_cancel()

    async with AsyncExitStack() as stack:
        customers = await store.customers(stack, CANCELLERS)
        statuses = []
        for start in range(0, CANCELLERS, 5):
            statuses += await ask_all(order_and_cancel, customers[start : start + 5])
    await asyncio.to_thread(store.wait_until_idle)

    histories = Counter(
        row["history"]
        for row in store.rows(
            "SELECT GROUP_CONCAT(kind ORDER BY seq) AS history FROM order_events"
            " WHERE order_id > %s GROUP BY order_id",
            since,
        )
    )
    record_property("histories", dict(histories))
    assert set(statuses) == {200}
    assert set(histories) <= {"placed,cancelled", "placed,confirmed,cancelled"}
    assert state_counts(store, since) == {"cancelled": CANCELLERS}
    assert await store.findings() == []


async def test_messages_delivered_five_times_in_random_order_have_one_effect(store):
    since = last_order(store)
    async with AsyncExitStack() as stack:
        customers = await store.customers(stack, REPEATED)
        store.workers.kill()
        await ask_all(Customer.ask_for_order, customers)
    hints = [
        (row["task"], row["ref_id"]) for row in store.rows("SELECT task, ref_id FROM tasks")
    ] * TIMES
    random.Random(5).shuffle(hints)
    await asyncio.to_thread(publish, store, hints)
    store.start()
    await asyncio.to_thread(store.wait_until_idle)

    assert state_counts(store, since) == {"confirmed": len(customers)}
    assert await store.findings() == []


def publish(store, hints):
    """One message for each task, in this order."""
    rabbit = StoreBroker(queue_type="classic", url=store.rabbitmq.url(store.name), middleware=[])
    for queue in QUEUES.values():
        rabbit.declare_queue(queue, ensure=True)
    for task, ref_id in hints:
        rabbit.enqueue(dramatiq.Message(QUEUES[task], task, ([ref_id],), {}, {}))
    rabbit.close()
