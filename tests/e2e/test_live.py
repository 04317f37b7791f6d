"""Orders watched live, on two web processes that share nothing but the database and RabbitMQ."""

import asyncio
import json
import os
import random
import re
import time
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import insert, select

from bookstore import db, guests, orders, passwords
from bookstore.messages import EventExchange
from bookstore.orders import Payment
from bookstore.permissions import Role
from bookstore.tables import order_events
from tests.e2e.programs import ADMIN, Web
from tests.factories import NOON, add_book, add_order, add_user
from tests.servers.process import wait_until

#: How often connections are cut; `CUTS=200` for a long run by hand.
CUTS = int(os.environ.get("CUTS", "20"))
#: How many watch an order at once; `LISTENERS=1000` by hand.
LISTENERS = int(os.environ.get("LISTENERS", "200"))
ORDERS = 5
#: What a program holds a transaction open for while others commit, in seconds.
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
    """An engine of which no web process hears."""
    engine = db.make_engine(settings["BOOKSTORE_DATABASE_URL"], timeout_s=30)
    yield engine
    await engine.dispose()


@pytest.fixture
async def telling(settings, plain):
    """The same, and the exchange hears of it: as in a worker."""
    async with EventExchange([settings["BOOKSTORE_BROKER_URL"]], name="test") as exchange:
        await asyncio.to_thread(wait_until, lambda: exchange.ready)
        yield db.telling(plain, exchange.tell)


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as http:
        yield http


async def place(engine, number):
    """An order by a guest; its id."""
    async with db.transaction(engine) as conn:
        order_id = await add_order(conn, {await add_book(conn): 1}, number=number)
        event = {"order_id": order_id, "seq": 1, "kind": "placed", "at": NOON, "actor": "guest"}
        await conn.execute(insert(order_events).values(event))
    return order_id


async def pay(engine, number, to, *, held_s=0.0):
    """Something that can happen to an order as often as one likes."""
    async with db.transaction(engine) as conn:
        await orders.change_payment(conn, number, to, actor="staff", now=NOON)
        await asyncio.sleep(held_s)


def path(webs, number):
    token = guests.access_token(webs[0].settings["BOOKSTORE_SECRET_KEY"], number)
    return f"/api/v1/orders/{number}/stream?access_token={token}"


@asynccontextmanager
async def opened(http, url, last_seen, **options):
    headers = {"Last-Event-ID": str(last_seen)} if last_seen is not None else {}
    async with http.get(url, headers=headers, **options) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield answer
        answer.close()  # No polite end: the connection is cut.


async def read_events(answer):
    """Events as a browser sees them: those that arrived whole."""
    text = ""
    while chunk := await answer.content.readany():
        text += chunk.decode()
        *whole, text = text.split("\n\n")
        for block in whole:
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            if "data" in fields:
                yield int(fields["id"]), json.loads(fields["data"])


async def read_on(answer, heard, *, until):
    """Read until this event is there; `heard` gets each."""
    async for mark, event in read_events(answer):
        heard.append((mark, event))
        if event["id"] >= until:
            return


async def follow(http, webs, number, dice, cuts, last):
    """All events of an order up to the last, read through connections that are cut at random."""
    heard = []
    while True:
        seen = heard[-1][0] if heard else None
        url = dice.choice(webs).url + path(webs, number)
        patience_s = dice.uniform(0, 0.15) if cuts else 30
        try:
            async with asyncio.timeout(patience_s), opened(http, url, seen) as answer:
                await read_on(answer, heard, until=last)
            return [event["id"] for _, event in heard]
        except TimeoutError:
            assert cuts
            cuts -= 1


async def sign_in(http, web):
    """The cookies of a member of staff."""
    engine = db.make_engine(web.settings["BOOKSTORE_DATABASE_URL"], timeout_s=20)
    async with db.transaction(engine) as conn:
        kept = await passwords.hash(ADMIN["password"])
        await add_user(conn, email=ADMIN["email"], role=Role.ADMIN, password_hash=kept)
    await engine.dispose()
    answer = await http.post(f"{web.url}/api/v1/session", json=ADMIN)
    assert answer.status == 200
    return {"sid": answer.cookies["sid"].value}


async def watch_all(http, webs, dice, cuts, wanted):
    """The ids of all events that staff get to see, until every wanted one is there."""
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


async def test_nothing_is_missed_doubled_or_out_of_order_through_cut_connections(
    webs, telling, plain, http
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
            # The first order's transactions stay open while the others' events commit.
            await pay(telling, number, to, held_s=held_s if change % 5 == 0 else 0)
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


async def test_a_hint_brings_an_event_at_once_and_a_lost_one_delays_it_by_a_second(
    webs, telling, plain, http
):
    await place(plain, "LATE-0000-0001")
    waits = {"told": [], "lost": []}
    seen = 1
    for web in webs:
        async with opened(http, web.url + path(webs, "LATE-0000-0001"), seen) as answer:
            events = read_events(answer)
            for name, engine in (("told", telling), ("lost", plain)) * 4:
                await asyncio.sleep(0.3)  # Somewhere between two looks.
                to = Payment.AUTHORIZED if seen % 2 else Payment.UNPAID
                await pay(engine, "LATE-0000-0001", to)
                committed = time.monotonic()
                mark, _ = await anext(events)
                waits[name].append(time.monotonic() - committed)
                seen += 1
                assert mark == seen

    print({name: sorted(round(wait, 3) for wait in found) for name, found in waits.items()})
    # The machine may be busy: half a second is for it.
    assert min(waits["told"]) < 0.2
    assert max(waits["lost"]) < 1.5


def memory_kb(web):
    status = (Path("/proc") / str(web._process.pid) / "status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])


async def test_many_idle_listeners_hold_no_connection_and_little_memory(
    webs, plain, mariadb, settings
):
    web, address = webs[1], path(webs, "IDLE-0000-0001")
    await place(plain, "IDLE-0000-0001")
    asked = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'live'"
    with closing(mariadb.connect("live")) as watcher, watcher.cursor() as cursor:

        def connections():
            cursor.execute(asked)
            return cursor.fetchone()[0]

        connector = aiohttp.TCPConnector(limit=0)
        async with (
            AsyncExitStack() as open_streams,
            aiohttp.ClientSession(connector=connector) as http,
        ):
            # The first loads what the process had not needed yet.
            await open_streams.enter_async_context(opened(http, web.url + address, 1))
            memory_before, connections_before = memory_kb(web), connections()
            for _ in range(LISTENERS):
                await open_streams.enter_async_context(opened(http, web.url + address, 1))
            await asyncio.sleep(1.5)  # A look or two.
            grown_kb = memory_kb(web) - memory_before
            more = connections() - connections_before
            print(f"{LISTENERS} listeners: {grown_kb / 1024:.1f} MB, {more} connections")

            assert more <= 0
            assert grown_kb < LISTENERS * 60
            async with http.get(f"{web.url}/readyz") as answer:
                assert answer.status == 200


async def test_a_process_that_stops_ends_its_streams_and_another_goes_on(
    webs, telling, plain, http
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
    await pay(telling, "MOVE-0000-0001", Payment.PAID)
    async with opened(http, second.url + address, heard[-1][0]) as answer:
        await read_on(answer, heard, until=2)
    assert [event["id"] for _, event in heard] == [1, 2]
