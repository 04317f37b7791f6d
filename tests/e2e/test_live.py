"""Live updates on two web processes that share only the database and RabbitMQ."""

import asyncio
import json
import os
import random
import re
import time
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

import aiohttp
import pymysql
import pytest
from sqlalchemy import insert, select

from bookstore import orders
from bookstore.database import engine as db
from bookstore.database.tables import order_events
from bookstore.notifications import guest_tokens
from bookstore.payments import Payment
from bookstore.tasks.publisher import EventBus
from bookstore.users import passwords
from bookstore.users.permissions import Role
from tests.e2e.programs import ADMIN, Web
from tests.factories import NOON, add_book, add_order, add_user
from tests.servers.process import wait_until

#: How often connections are cut; `CUTS=200` for a long run by hand.
CUTS = int(os.environ.get("CUTS", "20"))
#: Streams of one order at once; `LISTENERS=1000` by hand.
LISTENERS = int(os.environ.get("LISTENERS", "200"))
ORDERS = 5
#: How long a transaction stays open while others commit, in seconds.
HELD_S = 0.4


@pytest.fixture(scope="module")
def settings(mariadb, rabbitmq):
    yield {
        "BOOKSTORE_DATABASE_URL": mariadb.create_database("live"),
        "BOOKSTORE_BROKER_URL": rabbitmq.create_vhost("live"),
        "BOOKSTORE_RATE_LIMITS": "off",
    }
    rabbitmq.delete_vhost("live")


@pytest.fixture(scope="module")
def webs(settings):
    first, second = Web(settings), Web(settings)
    assert first.run("db", "upgrade").returncode == 0
    with first, second:
        yield first, second


@pytest.fixture
async def plain(settings):
    """An engine whose commits no web process is notified of."""
    engine = db.make_engine(settings["BOOKSTORE_DATABASE_URL"], timeout_s=30)
    yield engine
    await engine.dispose()


@pytest.fixture
async def notifying(settings, plain):
    """An engine whose commits are published to the exchange, as in a worker."""
    async with EventBus([settings["BOOKSTORE_BROKER_URL"]], name="test") as exchange:
        await asyncio.to_thread(wait_until, lambda: exchange.ready)
        yield db.notifying(plain, exchange.notify)


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as http:
        yield http


async def place(engine, number):
    """Place the order of a guest; returns its id."""
    async with db.transaction(engine) as conn:
        order_id = await add_order(conn, {await add_book(conn): 1}, number=number)
        event = {"order_id": order_id, "seq": 1, "kind": "placed", "at": NOON, "actor": "guest"}
        await conn.execute(insert(order_events).values(event))
    return order_id


async def pay(engine, number, to, *, held_s=0.0):
    """A change of an order that can be repeated any number of times."""
    async with db.transaction(engine) as conn:
        await orders.change_payment(conn, number, to, actor="staff", now=NOON)
        await asyncio.sleep(held_s)


def path(webs, number):
    token = guest_tokens.access_token(webs[0].settings["BOOKSTORE_SECRET_KEY"], number)
    return f"/api/v1/orders/{number}/stream?access_token={token}"


@asynccontextmanager
async def opened(http, url, last_seen, **options):
    headers = {"Last-Event-ID": str(last_seen)} if last_seen is not None else {}
    async with http.get(url, headers=headers, **options) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield answer
        answer.close()  # The connection is cut without closing the stream.


async def read_events(answer):
    """Events as a browser sees them: complete ones only."""
    text = ""
    while chunk := await answer.content.readany():
        text += chunk.decode()
        *whole, text = text.split("\n\n")
        for block in whole:
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            if "data" in fields:
                yield int(fields["id"]), json.loads(fields["data"])


async def read_on(answer, heard, *, until):
    """Read until this event arrives; `heard` collects all events."""
    async for mark, event in read_events(answer):
        heard.append((mark, event))
        if event["id"] >= until:
            return


async def follow(http, webs, number, dice, cuts, last):
    """All events of an order, read through connections that are cut at random, and through one that
    is not."""
    heard = []
    for cut in (*[True] * cuts, False):
        seen = heard[-1][0] if heard else None
        url = dice.choice(webs).url + path(webs, number)
        patience_s, until = (dice.uniform(0, 0.15), last + 1) if cut else (60, last)
        try:
            async with asyncio.timeout(patience_s), opened(http, url, seen) as answer:
                if seen != until:
                    await read_on(answer, heard, until=until)
        except TimeoutError:
            assert cut
    return [event["id"] for _, event in heard]


async def sign_in(http, web, email=ADMIN["email"]):
    """The cookies of a staff member."""
    engine = db.make_engine(web.settings["BOOKSTORE_DATABASE_URL"], timeout_s=20)
    async with db.transaction(engine) as conn:
        kept = await passwords.hash(ADMIN["password"])
        await add_user(conn, email=email, role=Role.ADMIN, password_hash=kept)
    await engine.dispose()
    answer = await http.post(f"{web.url}/api/v1/session", json={**ADMIN, "email": email})
    assert answer.status == 200
    return {"sid": answer.cookies["sid"].value}


async def watch_all(http, webs, dice, cuts, wanted):
    """The ids of all events on the staff stream, until every expected one has arrived."""
    cookies = await sign_in(http, webs[0])
    seen, heard = 0, set()
    while heard < (expected := await wanted()):
        url = f"{dice.choice(webs).url}/api/v1/admin/events"
        try:
            async with (
                asyncio.timeout(dice.uniform(0.1, 0.6) if cuts else 3),
                opened(http, url, seen, cookies=cookies) as answer,
            ):
                async for mark, event in read_events(answer):
                    assert mark <= max(heard | {event["id"]})
                    seen = mark
                    heard.add(event["id"])
        except TimeoutError:
            cuts = max(cuts - 1, 0)
    return heard, expected


@pytest.mark.timeout(120 + 3 * CUTS)
async def test_nothing_is_missed_doubled_or_out_of_order_through_cut_connections(
    webs, notifying, plain, http
):
    dice = random.Random(7)
    numbers = [f"LIVE-{place:04}-0001" for place in range(ORDERS)]
    for number in numbers:
        await place(plain, number)
    changes = 3 * CUTS // ORDERS + 10
    last = 1 + changes

    async def work(number, *, held_s):
        for change in range(changes):
            to = Payment.UNPAID if change % 2 else Payment.AUTHORIZED
            # The transactions of the first order stay open while others commit their events.
            await pay(notifying, number, to, held_s=held_s if change % 5 == 0 else 0)
            await asyncio.sleep(dice.uniform(0, 0.04))

    async def wanted():
        await asyncio.sleep(0.05)
        async with db.reading(plain) as conn:
            found = set((await conn.execute(select(order_events.c.id))).scalars())
        return found | {0} if working else found

    async def work_all():
        nonlocal working
        await asyncio.gather(
            *(work(number, held_s=0 if place else HELD_S) for place, number in enumerate(numbers))
        )
        working = False

    working = True
    followed, (staff, everything), _ = await asyncio.gather(
        asyncio.gather(
            *(follow(http, webs, number, dice, CUTS // ORDERS, last) for number in numbers)
        ),
        watch_all(http, webs, dice, CUTS // ORDERS, wanted),
        work_all(),
    )

    assert followed == [list(range(1, last + 1))] * ORDERS
    assert staff == everything


async def test_a_transaction_that_is_held_open_loses_no_event_to_a_later_commit(
    webs, notifying, plain, http
):
    slow, quick = "HELD-0000-0001", "NEXT-0000-0001"
    for number in (slow, quick):
        await place(plain, number)
    cookies = await sign_in(http, webs[0], "held@example.com")
    staff = f"{webs[1].url}/api/v1/admin/events"
    async with (
        opened(http, staff, None, cookies=cookies) as all_orders,
        opened(http, webs[0].url + path(webs, slow), 1) as one_order,
    ):
        await asyncio.sleep(0.5)  # Both streams are open.
        async with db.transaction(notifying) as conn:
            await orders.change_payment(conn, slow, Payment.PAID, actor="staff", now=NOON)
            # Its event has an id and is not visible yet, while events of the other order commit.
            await pay(notifying, quick, Payment.AUTHORIZED)
            everything, own = read_events(all_orders), read_events(one_order)
            mark, early = await anext(everything)
            waiting = asyncio.ensure_future(anext(own))
            assert await asyncio.wait([waiting], timeout=1.5) == (set(), {waiting})
        _, late = await anext(everything)
        assert (await waiting)[0] == 2

    assert (early["number"], late["number"]) == (quick, slow)
    assert late["id"] < early["id"]
    # A stream that was cut before the late event gets it after resuming, on any process.
    assert mark < late["id"]
    async with opened(http, f"{webs[0].url}/api/v1/admin/events", mark, cookies=cookies) as again:
        events = read_events(again)
        resumed = [(await anext(events))[1]["id"] for _ in range(2)]
    assert resumed == [late["id"], early["id"]]
    async with opened(http, webs[1].url + path(webs, slow), 1) as again:
        assert (await anext(read_events(again)))[0] == 2


async def test_a_stranger_finds_no_stream(webs, plain, http):
    await place(plain, "MINE-0000-0001")
    await place(plain, "YOUR-0000-0001")
    _, _, token = path(webs, "YOUR-0000-0001").partition("?")
    streams = ["MINE-0000-0001/stream", f"MINE-0000-0001/stream?{token}", "NONE-0000-0001/stream"]

    for web in webs:
        for stream in streams:
            async with http.get(f"{web.url}/api/v1/orders/{stream}") as answer:
                assert answer.status == 404


async def watch_the_clock(stood_still):
    """Measure how long this process was not scheduled: that is no delay of the store."""
    while True:
        started = time.monotonic()
        await asyncio.sleep(0.01)
        stood_still.append(time.monotonic() - started - 0.01)


async def test_a_notification_delivers_an_event_at_once_and_a_lost_one_delays_it_by_a_second(
    webs, notifying, plain, http
):
    await place(plain, "LATE-0000-0001")
    dice, waits = random.Random(11), {"notified": [], "lost": []}
    seen, stood_still = 1, []
    watch = asyncio.create_task(watch_the_clock(stood_still))
    for web in webs:
        async with opened(http, web.url + path(webs, "LATE-0000-0001"), seen) as answer:
            events = read_events(answer)
            for name, engine in (("notified", notifying), ("lost", plain)) * 6:
                await asyncio.sleep(dice.uniform(0, 1))  # At a random time between two polls.
                to = Payment.AUTHORIZED if seen % 2 else Payment.UNPAID
                await pay(engine, "LATE-0000-0001", to)
                committed = time.monotonic()
                stood_still.clear()
                mark, _ = await anext(events)
                waits[name].append(time.monotonic() - committed - sum(stood_still))
                seen += 1
                assert mark == seen
    watch.cancel()

    print({name: sorted(round(wait, 3) for wait in found) for name, found in waits.items()})
    assert min(waits["notified"]) < 0.2
    assert max(waits["lost"]) <= 1.0


def memory_kb(web):
    status = (Path("/proc") / str(web.pid) / "status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])


async def test_many_idle_listeners_hold_no_connection_and_little_memory(
    webs, notifying, mariadb, settings
):
    web, address = webs[1], path(webs, "IDLE-0000-0001")
    await place(notifying, "IDLE-0000-0001")
    asked = "SELECT id FROM information_schema.processlist WHERE db = 'live' AND id <> %s"
    with closing(mariadb.connect("live")) as watcher, watcher.cursor() as cursor:

        def connections():
            cursor.execute(asked, [watcher.thread_id()])
            return [row[0] for row in cursor.fetchall()]

        def cut_all():
            for connection in connections():
                with suppress(pymysql.OperationalError):  # It has ended already.
                    cursor.execute("KILL %s", [connection])

        connector = aiohttp.TCPConnector(limit=0)
        async with (
            AsyncExitStack() as open_streams,
            aiohttp.ClientSession(connector=connector) as http,
        ):
            # The first request loads code that the process had not used yet.
            await open_streams.enter_async_context(opened(http, web.url + address, 1))
            memory_before = memory_kb(web)
            streams = [
                await open_streams.enter_async_context(opened(http, web.url + address, 1))
                for _ in range(LISTENERS)
            ]
            await asyncio.sleep(1.5)  # One or two polls.
            grown_kb = memory_kb(web) - memory_before
            # All connections are closed; only needed ones are opened again.
            cut_all()
            await asyncio.sleep(3)
            held = len(connections())
            print(f"{LISTENERS} listeners: {grown_kb / 1024:.1f} MB, {held} connections")

            assert (
                held <= 1
            )  # The connection of the process, which polls once a second for all streams.
            assert grown_kb * 1024 < LISTENERS * 60_000
            await pay(notifying, "IDLE-0000-0001", Payment.PAID)
            async with asyncio.timeout(60):
                marks = [(await anext(read_events(stream)))[0] for stream in streams]
            assert marks == [2] * LISTENERS


async def test_a_process_that_stops_ends_its_streams_and_another_goes_on(
    webs, notifying, plain, http
):
    await place(plain, "MOVE-0000-0001")
    (first, second), address = webs, path(webs, "MOVE-0000-0001")
    async with opened(http, first.url + address, None) as answer:
        heard = []
        await read_on(answer, heard, until=1)
        started = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(first.stop))
        while await answer.content.readany():
            pass

        assert time.monotonic() - started < 5
        assert await stopping == 0
    await pay(notifying, "MOVE-0000-0001", Payment.PAID)
    async with opened(http, second.url + address, heard[-1][0]) as answer:
        await read_on(answer, heard, until=2)
    assert [event["id"] for _, event in heard] == [1, 2]
