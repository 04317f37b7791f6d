"""Streams, and the feed behind those of staff."""

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
from web.live.staff_stream import BEHIND, MISSING_S, Feed
from web.live.staff_stream import Reader as Staff


@pytest.fixture
async def listener():
    return sse.Listener()


@pytest.fixture
async def reader(listener):
    """Reads a short-lived stream of that listener."""

    async def show(request):
        return await sse.stream(request, listener, comment_s=0.05, longest_s=0.4)

    app = web.Application()
    app.router.add_get("/", show)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_stream_says_when_to_come_back_and_that_it_lives_and_ends_after_a_while(
    reader, listener
):
    listener.hear(sse.event(7, "status", '{"id": 7}'))

    answer = await reader.get("/")
    text = await answer.text()

    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"
    blocks = text.split("\n\n")
    assert blocks[:2] == ["retry: 3000", 'id: 7\nevent: status\ndata: {"id": 7}']
    assert blocks[2] == ": still here"


def test_a_stream_that_is_silent_says_every_fifteen_seconds_that_it_lives():
    assert signature(sse.stream).parameters["comment_s"].default == 15


async def test_what_waits_is_sent_before_a_stream_ends(reader, listener):
    listener.hear("data: one\n\n")
    listener.end()
    listener.hear("data: too late\n\n")

    assert await (await reader.get("/")).text() == "retry: 3000\n\ndata: one\n\n"


async def test_who_does_not_read_is_cut_off(listener):
    for number in range(sse.MOST_WAITING + 5):
        listener.hear(str(number))

    heard = []
    while (text := await listener.next()) is not None:
        heard.append(text)

    assert heard == [str(number) for number in range(sse.MOST_WAITING)]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
async def happen(conn):
    """Lets something happen to an order, as the event with this id."""
    order_id = await add_order(conn, {await add_book(conn): 1}, number="FEED-0000-0001")

    async def happen(*ids):
        for event_id in ids:
            event = {"id": event_id, "order_id": order_id, "seq": event_id, "kind": "placed"}
            await conn.execute(insert(order_events).values(at=NOON, actor="guest", **event))

    return happen


def dump(happening):
    return str(happening.id)


async def heard(reader):
    """What a reader was told: (id to resume from, id of the event)."""
    told = []
    while not reader._texts.empty():
        fields = dict(line.split(": ") for line in (await reader.next()).splitlines() if line)
        told.append((int(fields["id"]), int(fields["data"])))
    return told


async def test_what_becomes_visible_late_is_told_and_a_number_never_used_is_given_up(
    conn, engine, happen
):
    clock = Clock()
    feed = Feed(engine, clock=clock)
    await happen(*range(1, BEHIND + 1))
    first = BEHIND + 1
    with feed.follow(None, dump) as staff:
        await feed.look(conn)
        await happen(first, first + 2, first + 4)
        await feed.look(conn)
        early = await heard(staff)
        await happen(first + 3)
        await feed.look(conn)
        late = await heard(staff)
        clock.now = MISSING_S
        await feed.look(conn)
        await happen(first + 1)  # Nobody takes that long.
        await feed.look(conn)

        # Until the gap is filled or given up, who is cut off resumes before it.
        assert early == [(first, first), (first, first + 2), (first, first + 4)]
        assert late == [(first, first + 3)]
        assert await heard(staff) == []
        assert feed.settled == first + 4


async def test_staff_who_come_back_get_what_they_missed_once(conn, engine, happen):
    feed = Feed(engine, clock=Clock())
    await happen(1, 2, 4)
    with feed.follow(None, dump), feed.follow(1, dump) as back:
        await feed.look(conn)
        caught_up = await heard(back)
        await happen(3, 5)
        await feed.look(conn)

        assert caught_up == [(2, 2), (2, 4)]
        assert await heard(back) == [(4, 3), (5, 5)]


async def test_staff_who_were_away_too_long_are_told_to_start_over(conn, engine, happen):
    feed = Feed(engine, clock=Clock())
    await happen(1, 5000)
    with feed.follow(1, dump) as back:
        await feed.look(conn)

        assert "event: reset" in await back.next()


async def test_events_sent_together_resume_one_by_one():
    class It:
        def __init__(self, number):
            self.id = number

    staff = Staff(None, dump)

    staff.tell([It(5), It(6), It(9)], 9)

    assert await heard(staff) == [(5, 5), (8, 6), (9, 9)]


async def test_staff_follow_all_orders_and_others_may_not(visitor):
    manager, customer = await visitor(Role.MANAGER), await visitor(Role.CUSTOMER)

    async with manager.get("/api/v1/admin/events") as answer:
        assert answer.content_type == "text/event-stream"
        assert await answer.content.readline() == b"retry: 3000\n"
    assert (await customer.get("/api/v1/admin/events")).status == 403


async def test_streams_end_when_the_process_stops(visitor, server):
    manager = await visitor(Role.MANAGER)
    answer = await manager.get("/api/v1/admin/events")

    ending = asyncio.create_task(answer.text())
    await asyncio.sleep(0.1)
    await server.app.shutdown()

    assert await asyncio.wait_for(ending, 5) == "retry: 3000\n\n"
