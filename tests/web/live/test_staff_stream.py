"""Event streams, and the staff feed."""

import asyncio
from inspect import signature

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import insert

from bookstore.database.tables import order_events
from bookstore.users.permissions import Role
from tests.factories import NOON, add_book, add_order
from web.live import sse
from web.live.staff_stream import GAP_TIMEOUT_S, LOOKBACK, Feed, StaffSubscriber


@pytest.fixture
async def subscriber():
    return sse.Subscriber()


@pytest.fixture
async def client(subscriber):
    """A client for a short stream of that subscriber."""

    async def show(request):
        return await sse.stream(request, subscriber, keepalive_s=0.05, max_duration_s=0.4)

    app = web.Application()
    app.router.add_get("/", show)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_stream_has_a_retry_delay_and_keepalive_comments_and_ends(client, subscriber):
    subscriber.push(sse.event(7, "status", '{"id": 7}'))

    answer = await client.get("/")
    text = await answer.text()

    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"
    blocks = text.split("\n\n")
    assert blocks[:2] == ["retry: 3000", 'id: 7\nevent: status\ndata: {"id": 7}']
    assert blocks[2] == ": keep-alive"


def test_an_idle_stream_sends_a_comment_every_fifteen_seconds():
    assert signature(sse.stream).parameters["keepalive_s"].default == 15


async def test_queued_events_are_sent_before_a_stream_ends(client, subscriber):
    subscriber.push("data: one\n\n")
    subscriber.end()
    subscriber.push("data: too late\n\n")

    assert await (await client.get("/")).text() == "retry: 3000\n\ndata: one\n\n"


async def test_a_slow_client_is_disconnected(subscriber):
    for number in range(sse.MAX_QUEUED + 5):
        subscriber.push(str(number))

    received = []
    while (text := await subscriber.next()) is not None:
        received.append(text)

    assert received == [str(number) for number in range(sse.MAX_QUEUED)]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
async def add_events(conn):
    """Adds events with these ids to an order."""
    order_id = await add_order(conn, {await add_book(conn): 1}, number="FEED-0000-0001")

    async def add(*ids):
        for event_id in ids:
            event = {"id": event_id, "order_id": order_id, "seq": event_id, "kind": "placed"}
            await conn.execute(insert(order_events).values(at=NOON, actor="guest", **event))

    return add


def dump(event):
    return str(event.id)


async def received(subscriber):
    """The queued events as (id to resume from, id of the event)."""
    events = []
    while not subscriber._texts.empty():
        fields = dict(line.split(": ") for line in (await subscriber.next()).splitlines() if line)
        events.append((int(fields["id"]), int(fields["data"])))
    return events


async def test_a_late_event_is_sent_and_a_missing_id_expires(conn, engine, add_events):
    clock = Clock()
    feed = Feed(engine, clock=clock)
    await add_events(*range(1, LOOKBACK + 1))
    first = LOOKBACK + 1
    with feed.follow(None, dump) as staff:
        await feed.poll(conn)
        await add_events(first, first + 2, first + 4)
        await feed.poll(conn)
        early = await received(staff)
        await add_events(first + 3)
        await feed.poll(conn)
        late = await received(staff)
        clock.now = GAP_TIMEOUT_S
        await feed.poll(conn)
        await add_events(first + 1)  # Later than any transaction, so it is not sent.
        await feed.poll(conn)

        # A client resumes before a gap until the gap is filled or expired.
        assert early == [(first, first), (first, first + 2), (first, first + 4)]
        assert late == [(first, first + 3)]
        assert await received(staff) == []
        assert feed.watermark == first + 4


async def test_a_reconnected_client_gets_missed_events_once(conn, engine, add_events):
    feed = Feed(engine, clock=Clock())
    await add_events(1, 2, 4)
    with feed.follow(None, dump), feed.follow(1, dump) as back:
        await feed.poll(conn)
        caught_up = await received(back)
        await add_events(3, 5)
        await feed.poll(conn)

        assert caught_up == [(2, 2), (2, 4)]
        assert await received(back) == [(4, 3), (5, 5)]


async def test_a_client_disconnected_for_too_long_must_reload(conn, engine, add_events):
    feed = Feed(engine, clock=Clock())
    await add_events(1, 5000)
    with feed.follow(1, dump) as back:
        await feed.poll(conn)

        assert "event: reset" in await back.next()


async def test_each_event_of_a_batch_has_its_own_resume_id():
    class FakeEvent:
        def __init__(self, number):
            self.id = number

    staff = StaffSubscriber(None, dump)

    staff.notify([FakeEvent(5), FakeEvent(6), FakeEvent(9)], 9)

    assert await received(staff) == [(5, 5), (8, 6), (9, 9)]


async def test_only_staff_can_open_the_feed(visitor):
    manager, customer = await visitor(Role.MANAGER), await visitor(Role.CUSTOMER)

    async with manager.get("/api/v1/admin/events") as answer:
        assert answer.content_type == "text/event-stream"
        assert await answer.content.readline() == b"retry: 3000\n"
    assert (await customer.get("/api/v1/admin/events")).status == 403


async def test_streams_end_at_shutdown(visitor, server):
    manager = await visitor(Role.MANAGER)
    answer = await manager.get("/api/v1/admin/events")

    ending = asyncio.create_task(answer.text())
    await asyncio.sleep(0.1)
    await server.app.shutdown()

    assert await asyncio.wait_for(ending, 5) == "retry: 3000\n\n"
