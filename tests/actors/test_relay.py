"""The relay republishes unfinished tasks."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from actors.relay import LONG_QUEUE, LONG_QUEUE_PERIOD, Relay
from bookstore.database import engine as db
from bookstore.database.tables import heartbeats as beats
from bookstore.database.tables import sessions as session_rows
from bookstore.tasks import heartbeats, outbox
from bookstore.tasks.outbox import GRACE, REPUBLISH_DELAY, Task, TaskRef
from bookstore.tasks.publisher import QUEUES
from bookstore.users import sessions
from tests.factories import NOON


class RecordingPublisher:
    """A publisher that records what it publishes."""

    def __init__(self):
        self.ready = True
        self.published = []
        self.in_queue = 0

    async def waiting(self):
        return dict.fromkeys(QUEUES.values(), self.in_queue)

    def publish(self, tasks):
        self.published += tasks


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def publisher():
    return RecordingPublisher()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def relay(engine, publisher, clock):
    return Relay(engine, publisher, name="relay", clock=clock)


async def add_tasks(engine, *ref_ids):
    async with db.transaction(engine) as conn:
        await outbox.add(conn, Task.PROCESS_ORDERS, ref_ids, now=NOON)


async def test_a_new_row_is_left_to_the_process_that_wrote_it(engine, relay, publisher, clock):
    await add_tasks(engine, 1)
    clock.now = NOON + GRACE - timedelta(seconds=1)

    assert await relay.publish_due() == 0

    clock.now = NOON + GRACE
    assert await relay.publish_due() == 1
    assert publisher.published == [TaskRef(Task.PROCESS_ORDERS, 1)]


async def test_a_single_process_publishes_the_unfinished_tasks_of_its_predecessor_at_once(
    engine, relay, publisher
):
    await add_tasks(engine, 1, 2)

    await relay.publish_due(ahead=GRACE)

    assert [ref.ref_id for ref in publisher.published] == [1, 2]


async def passes_that_publish(relay, publisher, clock, number):
    """In which of the first `number` passes the only row is published."""
    found = []
    for number_of_pass in range(number):
        clock.now = NOON + GRACE + number_of_pass * REPUBLISH_DELAY
        assert await relay.publish_due() == 1
        assert await relay.publish_due() == 0
        if publisher.published:
            found.append(number_of_pass)
        publisher.published.clear()
    return found


async def test_a_row_is_republished_every_half_minute(engine, relay, publisher, clock):
    await add_tasks(engine, 1)

    assert await passes_that_publish(relay, publisher, clock, 12) == list(range(12))


async def test_with_a_long_queue_a_row_is_republished_every_ten_minutes(
    engine, relay, publisher, clock
):
    await add_tasks(engine, 1)
    publisher.in_queue = LONG_QUEUE

    assert await passes_that_publish(relay, publisher, clock, 2 * LONG_QUEUE_PERIOD) == [
        0,
        LONG_QUEUE_PERIOD,
    ]
    assert timedelta(minutes=10) == LONG_QUEUE_PERIOD * REPUBLISH_DELAY


async def test_when_the_queue_is_short_again_every_row_is_published_within_half_a_minute(
    engine, relay, publisher, clock
):
    await add_tasks(engine, *range(1, 11))
    publisher.in_queue = LONG_QUEUE
    clock.now = NOON + GRACE
    for _ in range(2):
        await relay.publish_due()
        clock.now += REPUBLISH_DELAY
    publisher.published.clear()
    publisher.in_queue = 0

    await relay.publish_due()

    assert len(publisher.published) == 10


async def test_nothing_is_published_while_the_broker_is_unavailable(
    engine, relay, publisher, clock
):
    await add_tasks(engine, 1)
    clock.now = NOON + timedelta(hours=1)
    publisher.ready = False
    await relay.publish_due()
    publisher.ready = True

    assert await relay.publish_due() == 1


async def test_dead_rows_are_not_published(engine, relay, clock):
    await add_tasks(engine, 1)
    async with db.transaction(engine) as conn:
        for _ in range(outbox.MAX_ATTEMPTS):
            await outbox.start_attempts(conn, Task.PROCESS_ORDERS, [1])
        assert await outbox.fail(conn, Task.PROCESS_ORDERS, 1, "no", now=NOON)
    clock.now = NOON + timedelta(days=1)

    assert await relay.publish_due() == 0


async def test_a_relay_writes_heartbeats(engine, relay, publisher, clock):
    publisher.ready = False
    await relay.publish_due()
    clock.now += timedelta(seconds=5)

    await relay.publish_due()

    async with db.reading(engine) as conn:
        assert await heartbeats.latest(conn) == clock.now


async def test_two_relays_publish_each_row_once(engine, publisher, clock):
    await add_tasks(engine, *range(1, 101))
    clock.now = NOON + GRACE
    first = Relay(engine, publisher, name="first", clock=clock)
    second = Relay(engine, publisher, name="second", clock=clock)

    await first.publish_due()
    await second.publish_due()

    assert sorted(ref.ref_id for ref in publisher.published) == list(range(1, 101))


async def test_a_relay_deletes_only_expired_data(engine, relay, clock):
    async with db.transaction(engine) as conn:
        for name, beat_at in (("stopped", NOON - timedelta(days=2)), ("alive", NOON)):
            await heartbeats.beat(conn, name, now=beat_at)
        for lifetime in (timedelta(hours=1), timedelta(days=30)):
            await sessions.make(
                conn,
                user_id=None,
                data={},
                address=None,
                user_agent=None,
                now=NOON - timedelta(days=1),
                lifetime=lifetime,
            )

    await relay.tidy()

    async with db.reading(engine) as conn:
        assert list((await conn.execute(select(beats.c.name))).scalars()) == ["alive"]
        assert len((await conn.execute(select(session_rows))).all()) == 1
