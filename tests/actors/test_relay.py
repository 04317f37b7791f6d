"""What nobody finished is offered again."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from actors.relay import LONG_QUEUE, RARELY, Relay
from bookstore.database import engine as db
from bookstore.database.tables import heartbeats as beats
from bookstore.database.tables import sessions as session_rows
from bookstore.tasks import heartbeats, outbox
from bookstore.tasks.outbox import GRACE, PAUSE, Offer, Task
from bookstore.tasks.publisher import QUEUES
from bookstore.users import sessions
from tests.factories import NOON


class Offers:
    """A publisher that writes down what it is offered."""

    def __init__(self):
        self.ready = True
        self.taken = []
        self.in_queue = 0

    async def waiting(self):
        return dict.fromkeys(QUEUES.values(), self.in_queue)

    def offer(self, offers):
        self.taken += offers


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def offers():
    return Offers()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def relay(engine, offers, clock):
    return Relay(engine, offers, name="relay", clock=clock)


async def give(engine, *ref_ids):
    async with db.transaction(engine) as conn:
        await outbox.add(conn, Task.PROCESS_ORDERS, ref_ids, now=NOON)


async def test_a_fresh_row_is_left_to_whoever_wrote_it(engine, relay, offers, clock):
    await give(engine, 1)
    clock.now = NOON + GRACE - timedelta(seconds=1)

    assert await relay.offer_due() == 0

    clock.now = NOON + GRACE
    assert await relay.offer_due() == 1
    assert offers.taken == [Offer(Task.PROCESS_ORDERS, 1)]


async def test_a_process_that_is_alone_offers_at_once_what_the_one_before_it_left(
    engine, relay, offers
):
    await give(engine, 1, 2)

    await relay.offer_due(ahead=GRACE)

    assert [offer.ref_id for offer in offers.taken] == [1, 2]


async def turns(relay, offers, clock, number):
    """At which of so many turns of the only row it is offered."""
    used = []
    for turn in range(number):
        clock.now = NOON + GRACE + turn * PAUSE
        assert await relay.offer_due() == 1
        assert await relay.offer_due() == 0
        if offers.taken:
            used.append(turn)
        offers.taken.clear()
    return used


async def test_a_row_is_offered_every_half_minute_until_somebody_takes_it(
    engine, relay, offers, clock
):
    await give(engine, 1)

    assert await turns(relay, offers, clock, 12) == list(range(12))


async def test_a_row_is_offered_into_a_long_queue_every_ten_minutes(engine, relay, offers, clock):
    await give(engine, 1)
    offers.in_queue = LONG_QUEUE

    assert await turns(relay, offers, clock, 2 * RARELY) == [0, RARELY]
    assert timedelta(minutes=10) == RARELY * PAUSE


async def test_a_queue_that_is_short_again_gets_every_row_within_half_a_minute(
    engine, relay, offers, clock
):
    await give(engine, *range(1, 11))
    offers.in_queue = LONG_QUEUE
    clock.now = NOON + GRACE
    for _ in range(2):
        await relay.offer_due()
        clock.now += PAUSE
    offers.taken.clear()
    offers.in_queue = 0

    await relay.offer_due()

    assert len(offers.taken) == 10


async def test_nothing_is_offered_while_the_broker_is_away(engine, relay, offers, clock):
    await give(engine, 1)
    clock.now = NOON + timedelta(hours=1)
    offers.ready = False
    await relay.offer_due()
    offers.ready = True

    assert await relay.offer_due() == 1


async def test_parked_rows_are_not_offered(engine, relay, clock):
    await give(engine, 1)
    async with db.transaction(engine) as conn:
        for _ in range(outbox.MAX_ATTEMPTS):
            await outbox.start(conn, Task.PROCESS_ORDERS, [1])
        assert await outbox.fail(conn, Task.PROCESS_ORDERS, 1, "no", now=NOON)
    clock.now = NOON + timedelta(days=1)

    assert await relay.offer_due() == 0


async def test_a_relay_shows_that_it_is_alive(engine, relay, offers, clock):
    offers.ready = False
    await relay.offer_due()
    clock.now += timedelta(seconds=5)

    await relay.offer_due()

    async with db.reading(engine) as conn:
        assert await heartbeats.latest(conn) == clock.now


async def test_two_relays_offer_each_row_once(engine, offers, clock):
    await give(engine, *range(1, 101))
    clock.now = NOON + GRACE
    first = Relay(engine, offers, name="first", clock=clock)
    second = Relay(engine, offers, name="second", clock=clock)

    await first.offer_due()
    await second.offer_due()

    assert sorted(offer.ref_id for offer in offers.taken) == list(range(1, 101))


async def test_a_relay_throws_away_what_has_expired_and_nothing_else(engine, relay, clock):
    async with db.transaction(engine) as conn:
        for name, beat_at in (("gone", NOON - timedelta(days=2)), ("alive", NOON)):
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
