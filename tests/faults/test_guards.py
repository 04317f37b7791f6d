"""Each guard is taken away once, and a check that holds with it has to fail without it.

What a zero is worth is seen here.  The consumer that acknowledges only its own messages and
the retry that is not lost have their pair of tests in `tests/actors/test_broker.py`.
"""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import aio_pika
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from actors import batching, relay
from actors.batching import Batches
from actors.embedded import workers
from bookstore import (
    carts,
    checkout,
    db,
    doctor,
    fulfilment,
    idempotency,
    letters,
    notifications,
    orders,
    postman,
    smtp,
    tasks,
)
from bookstore.bulk import Bulk, BulkQuery
from bookstore.checkout import Checkouts, Wish
from bookstore.errors import CartEmpty, IdempotencyKeyReused
from bookstore.idempotency import Key
from bookstore.letters import Store
from bookstore.messages import RabbitPublisher
from bookstore.tables import orders as order_rows
from bookstore.tasks import MAX_ATTEMPTS, Offer, Task
from tests.actors.conftest import ADDRESS, RATES
from tests.factories import NOON, add_book
from tests.servers.process import wait_until

_keys = count(1)
WITH, WITHOUT = True, False


@pytest.fixture
def database_url(mariadb, mariadb_database, pytestconfig):
    """MariaDB only: SQLite has one writer, which hides what locks are for."""
    worker = getattr(pytestconfig, "workerinput", {}).get("workerid", "main")
    mariadb.empty(mariadb_database)
    return mariadb.url(f"test_{worker}")


@pytest.fixture(params=[WITH, WITHOUT], ids=["with", "without"])
def guarded(request):
    """Whether the guard is there; the check has to come out the same."""
    return request.param


async def nothing(*_args, **_named):
    """What is left of a guard."""


def clock():
    return datetime.now(UTC)


def batches(engine, work=fulfilment.process, name="test"):
    return Batches(engine, Task.PROCESS_ORDERS, work, worker=name, clock=clock)


async def full_cart(engine, quantities):
    async with db.transaction(engine) as conn:
        cart_id = await carts.make_guest(conn, now=NOON)
        for book_id, quantity in quantities.items():
            await carts.add(conn, cart_id, book_id, quantity, now=NOON)
    return Wish(
        key=Key(f"cart:{cart_id}", str(next(_keys))),
        request_hash="0" * 64,
        cart_id=cart_id,
        user_id=None,
        email="mira@example.com",
        shipping_address=ADDRESS,
    )


async def place(engine, quantities):
    return (await Checkouts(engine, RATES).place(await full_cart(engine, quantities))).order


async def books(engine, stock, number=1):
    async with db.transaction(engine) as conn:
        return [await add_book(conn, stock=stock) for _ in range(number)]


async def findings(engine):
    async with db.reading(engine) as conn:
        return {found.invariant async for found in doctor.examine(conn, now=NOON)}


async def unfinished(engine, task=Task.PROCESS_ORDERS):
    async with db.reading(engine) as conn:
        return [row for row in await tasks.find(conn) if row.task is task]


# Stock


async def test_conditional_stock(engine, guarded, monkeypatch):
    if not guarded:
        blind = Bulk(
            "book_id BIGINT, quantity INT",
            "UPDATE {rows} AS v STRAIGHT_JOIN book_stock AS s ON s.book_id = v.book_id"
            " SET s.stock = s.stock - v.quantity",
        )
        monkeypatch.setattr(fulfilment, "_TAKE", blind)
    (dune,) = await books(engine, stock=1)
    take = fulfilment._take
    rivals = [1]

    async def overtaken(conn, confirmed):
        if rivals:  # Somebody takes the last copy between our look and our grasp.
            async with db.transaction(engine) as rival:
                await rival.execute(
                    text("UPDATE book_stock SET stock = stock - :n"), {"n": rivals.pop()}
                )
        await take(conn, confirmed)

    monkeypatch.setattr(fulfilment, "_take", overtaken)
    order = await place(engine, {dune: 1})

    await batches(engine).work_off([order.id], "m")

    # The CHECK of the table is behind it: nothing is oversold, but the attempt fails.
    async with db.reading(engine) as conn:
        attempt = await conn.scalar(text("SELECT MAX(attempt) FROM order_events"))
    assert (attempt == 1) == guarded


async def test_row_lock_order(engine, guarded, monkeypatch):
    deadlocks = []
    reason = db._reason

    def counted(error):
        deadlocks.extend([1] if reason(error) == 1213 else [])
        return reason(error)

    monkeypatch.setattr(db, "_reason", counted)
    if not guarded:

        def shuffled(rows, **_named):
            rows = list(rows)
            random.shuffle(rows)
            return rows

        monkeypatch.setattr(fulfilment, "sorted", shuffled, raising=False)
    shelf = await books(engine, stock=1000, number=40)
    placed = [await place(engine, dict.fromkeys(shelf, 1)) for _ in range(24)]

    await asyncio.gather(
        *(
            batches(engine, name=f"w{number}").work_off([order.id], "m")
            for number, order in enumerate(placed)
        )
    )

    assert (not deadlocks) == guarded


# The checkout


async def test_key_in_the_transaction(engine, guarded, monkeypatch):
    if not guarded:
        monkeypatch.setattr(idempotency, "keep", nothing)
    (dune,) = await books(engine, stock=7)
    wish = await full_cart(engine, {dune: 1})
    first = await Checkouts(engine, RATES).place(wish)

    try:
        again = (await Checkouts(engine, RATES).place(wish)).order.number
    except CartEmpty:
        again = None

    assert (again == first.order.number) == guarded


async def test_request_hash(engine, guarded, monkeypatch):
    if not guarded:

        class Any(str):
            __slots__ = ()
            __hash__ = str.__hash__

            def __eq__(self, other):
                return True

        found = idempotency.find

        async def find(conn, keys):
            return {
                key: use._replace(request_hash=Any(use.request_hash))
                for key, use in (await found(conn, keys)).items()
            }

        monkeypatch.setattr(idempotency, "find", find)
    (dune,) = await books(engine, stock=7)
    wish = await full_cart(engine, {dune: 1})
    await Checkouts(engine, RATES).place(wish)

    try:
        await Checkouts(engine, RATES).place(replace(wish, request_hash="1" * 64))
    except IdempotencyKeyReused:
        refused = True
    else:
        refused = False

    assert refused == guarded


async def test_task_written_in_the_transaction(engine, guarded, monkeypatch):
    if not guarded:
        # Written after it instead, by a process that was killed in between.
        monkeypatch.setattr(checkout.tasks, "add", nothing)
    (dune,) = await books(engine, stock=7)

    await place(engine, {dune: 1})

    broken = "every placed order is waiting for the order service" in await findings(engine)
    assert broken != guarded


# The worker


async def test_task_deleted_in_the_transaction(engine, guarded, monkeypatch):
    done = tasks.done

    async def first_of_all(conn, task, ref_ids):
        await done(conn, task, ref_ids)
        await conn.execute(text("COMMIT"))

    if not guarded:
        monkeypatch.setattr(batching.tasks, "done", first_of_all)
    (dune,) = await books(engine, stock=7)
    order = await place(engine, {dune: 1})

    async def fails(conn, ref_ids, /, **_named):
        raise ValueError("a bug")

    await batches(engine, fails).work_off([order.id], "m")

    broken = "every placed order is waiting for the order service" in await findings(engine)
    assert broken != guarded


async def test_relay(engine, settings, guarded, monkeypatch):
    async def rest(self, *, alone):
        await asyncio.sleep(3600)

    if not guarded:
        monkeypatch.setattr(relay.Relay, "run", rest)
    (dune,) = await books(engine, stock=7)
    await place(engine, {dune: 1})  # No message tells of it.

    async with workers(settings):
        for _ in range(40):
            await asyncio.sleep(0.1)
            if not await unfinished(engine):
                break

    assert (not await unfinished(engine)) == guarded


class Died(asyncio.CancelledError):
    """As near to a kill as one process can come."""


async def restart_often(engine, ref_ids, killer):
    """Work on a list again and again, with one row that takes the worker down each time."""
    worked = Counter()

    async def work(conn, held, /, **_named):
        worked.update(list(held))
        if killer in held:
            raise Died

    for _ in range(MAX_ATTEMPTS + 3):
        worker = batches(engine, work)
        asking = asyncio.create_task(worker.work_off(ref_ids, "m"))
        await asyncio.sleep(0)
        assert worker._together._running is not None
        await asyncio.wait([worker._together._running])
        asking.cancel()  # Nobody is left to answer it.
        await asyncio.gather(asking, return_exceptions=True)
    return worked


async def give(engine, ref_ids):
    async with db.transaction(engine) as conn:
        await tasks.add(conn, Task.PROCESS_ORDERS, ref_ids, now=NOON)


async def test_attempt_counted_before_the_work(engine, guarded, monkeypatch):
    async def uncounted(conn, task, ref_ids):
        return {
            ref_id: times + 1
            for ref_id, times in (await tasks.attempts(conn, task, ref_ids)).items()
        }

    if not guarded:
        monkeypatch.setattr(batching.tasks, "start", uncounted)
    await give(engine, [1])

    worked = await restart_often(engine, [1], killer=1)

    (row,) = await unfinished(engine)
    assert (row.parked_at is not None) == guarded
    assert (worked[1] <= MAX_ATTEMPTS) == guarded


async def test_second_attempt_alone(engine, guarded, monkeypatch):
    attempts = Batches._attempts

    async def all_alike(self, ref_ids):
        return dict.fromkeys(await attempts(self, ref_ids), 0)

    if not guarded:
        monkeypatch.setattr(Batches, "_attempts", all_alike)
    await give(engine, [1, 2, 3])

    await restart_often(engine, [1, 2, 3], killer=2)

    left = [row.ref_id for row in await unfinished(engine)]
    assert (left == [2]) == guarded


async def test_state_check_on_redelivery(engine, guarded, monkeypatch):
    if not guarded:
        blind = BulkQuery(
            "order_id BIGINT",
            "o.id, o.user_id, o.email, CONCAT(o.terms), o.last_seq, o.placed_at",
            "FROM {rows} AS v {join} orders AS o ON o.id = v.order_id {for_update}",
        )
        monkeypatch.setattr(fulfilment, "_LOCK", blind)
    (dune,) = await books(engine, stock=7)
    order = await place(engine, {dune: 1})
    async with db.transaction(engine) as conn:
        await orders.cancel(
            conn, order.number, actor="guest", by_staff=False, reason=None, now=NOON
        )

    await batches(engine).work_off([order.id], "m")

    async with db.reading(engine) as conn:
        status = await conn.scalar(select(order_rows.c.status))
    assert (status == "cancelled") == guarded


async def test_whole_transaction_again_after_a_deadlock(engine, guarded, monkeypatch):
    async def once(work, *_errors):
        return await work()

    if not guarded:
        monkeypatch.setattr(batching, "retrying", once)
    await give(engine, [1])
    tries = []

    async def work(conn, held, /, **_named):
        tries.append(held)
        if len(tries) == 1:
            raise OperationalError("UPDATE", None, Exception(1213, "Deadlock found"))

    with suppress(OperationalError):
        await batches(engine, work).work_off([1], "m")

    assert (not await unfinished(engine)) == guarded


async def test_event_numbers_under_the_lock_of_the_order(engine, guarded, monkeypatch):
    async def unlocked(conn, number):
        return await orders.get(conn, number)

    if not guarded:
        monkeypatch.setattr(orders, "_lock", unlocked)
    (dune,) = await books(engine, stock=70)
    placed = [await place(engine, {dune: 1}) for _ in range(20)]

    async def cancel(order):
        async with db.transaction(engine) as conn:
            await orders.cancel(
                conn, order.number, actor="guest", by_staff=False, reason=None, now=NOON
            )

    async def pay(order):
        async with db.transaction(engine) as conn:
            await orders.change_payment(
                conn, order.number, orders.Payment.PAID, actor="clerk", now=NOON
            )

    outcomes = [
        outcome
        for order in placed
        for outcome in await asyncio.gather(cancel(order), pay(order), return_exceptions=True)
    ]

    clashes = [outcome for outcome in outcomes if isinstance(outcome, IntegrityError)]
    assert (not clashes) == guarded


# Letters


class SlowMailer:
    """Takes its time, and may hang up at the first letters without an answer."""

    def __init__(self, silent=0):
        self.ids = []
        self._silent = silent

    async def send(self, mail):
        self.ids.append(mail.message_id)
        await asyncio.sleep(0.2)
        if len(self.ids) <= self._silent:
            raise smtp.InDoubt("No answer in time.")
        return "250 OK"


async def one_letter(engine):
    async with db.transaction(engine) as conn:
        return await notifications.queue(
            conn, "message", recipient="mira@example.com", subject="Hello", body="There", now=NOON
        )


async def test_notification_lease(engine, settings, guarded, monkeypatch):
    if not guarded:
        monkeypatch.setattr(postman, "LEASE", timedelta(0))
    mailer, store = SlowMailer(), Store.of(settings)
    letter = await one_letter(engine)

    async def deliver_after(seconds):
        await asyncio.sleep(seconds)
        await postman.Postman(engine, mailer, store, clock=clock).deliver([letter])

    await asyncio.gather(deliver_after(0), deliver_after(0.1))

    assert (len(mailer.ids) == 1) == guarded


async def test_same_message_id(engine, settings, guarded, monkeypatch):
    if not guarded:
        monkeypatch.setattr(
            letters, "message_id", lambda letter, store: f"<n{next(_keys)}@example.com>"
        )
    mailer, store = SlowMailer(silent=1), Store.of(settings)
    letter = await one_letter(engine)

    for _ in range(2):
        await postman.Postman(engine, mailer, store, clock=clock).deliver([letter])

    assert len(mailer.ids) == 2
    assert (len(set(mailer.ids)) == 1) == guarded


# The broker


async def test_publisher_confirms(broker_url, rabbitmq, guarded, monkeypatch, pytestconfig):
    if not guarded:
        channel = aio_pika.Connection.channel

        def unconfirmed(self, *_args, **_named):
            return channel(self, publisher_confirms=False)

        monkeypatch.setattr(aio_pika.Connection, "channel", unconfirmed)
        monkeypatch.setattr(RabbitPublisher, "_publish", blind_publish)
    vhost = broker_url.rpartition("/")[2]
    async with RabbitPublisher([broker_url], queue_type="classic", name="test") as publisher:
        await asyncio.to_thread(wait_until, lambda: publisher.ready)
        await asyncio.to_thread(rabbitmq.ask, "DELETE", f"queues/{vhost}/orders")
        publisher.offer([Offer(Task.PROCESS_ORDERS, 1)])  # It goes nowhere.
        await asyncio.sleep(3)

        there = [
            queue["name"]
            for queue in await asyncio.to_thread(rabbitmq.ask, "GET", f"queues/{vhost}")
        ]

    # Whoever is told that nothing arrived connects anew, and declares the queue again.
    assert ("orders" in there) == guarded


async def blind_publish(self, message):
    await self._channel.default_exchange.publish(
        aio_pika.Message(message.encode()), routing_key=message.queue_name, mandatory=False
    )
