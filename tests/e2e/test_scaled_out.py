"""One web process, two worker processes, MariaDB, RabbitMQ and a mail server."""

import asyncio
import json
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack

import pymysql.cursors
import pytest
from aiohttp import ClientSession

from tests.e2e.programs import Web, Workers
from tests.e2e.shopper import Shopper
from tests.servers.process import wait_until
from tests.servers.rights import prepare
from tests.servers.smtp import SmtpSink

CLIENTS, ORDERS_EACH = 20, 25
TITLES = 40
#: Stock for about four of five orders of two books each.
COPIES = CLIENTS * ORDERS_EACH * 2 * 4 // 5 // TITLES


@pytest.fixture(scope="module")
def database(mariadb):
    """A database for this module, created by the store's command, with the accounts of
    operating.md."""
    url = prepare(mariadb, "scaled_out")
    with mariadb.connect("scaled_out") as conn:
        yield url, conn


@pytest.fixture(scope="module")
def sink():
    with SmtpSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def settings(database, rabbitmq, sink):
    url, _ = database
    yield {
        "BOOKSTORE_DATABASE_URL": url,
        "BOOKSTORE_BROKER_URL": rabbitmq.create_vhost("scaled-out"),
        "BOOKSTORE_SMTP_URL": sink.url,
    }
    rabbitmq.delete_vhost("scaled-out")


@pytest.fixture(scope="module")
def web(settings):
    program = Web(settings)
    assert program.run("sample-data").returncode == 0
    with program:
        yield program


@pytest.fixture(scope="module")
def workers(web, settings):
    with Workers(settings) as workers:
        yield workers


def rows(database, query, *parameters):
    _, conn = database
    conn.commit()  # A new snapshot.
    with conn.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())


def set_stock(database, book_ids, copies):
    """Set the stock of these books, with the movements that explain it."""
    _, conn = database
    with conn.cursor() as cursor:
        for book_id in book_ids:
            cursor.execute(
                "INSERT INTO stock_movements (book_id, delta, reason, created_at)"
                " SELECT %s, %s - stock, 'count', NOW(6) FROM book_stock WHERE book_id = %s",
                (book_id, copies, book_id),
            )
            cursor.execute("UPDATE book_stock SET stock = %s WHERE book_id = %s", (copies, book_id))
    conn.commit()


async def guests_with_full_carts(stack, url, pairs):
    """A guest for each pair of books, with these in the cart."""
    guests = []
    for first, second in pairs:
        guest = await stack.enter_async_context(Shopper(url))
        await guest.fill_cart({first: 1, second: 1})
        guests.append(guest)
    return guests


async def place_one_after_the_other(guests):
    return [(await guest.order(email="guest@example.com"))["number"] for guest in guests]


async def test_five_hundred_orders_from_twenty_clients_are_decided_once_each(
    web, workers, database, sink
):
    books = [
        row["id"] for row in rows(database, "SELECT id FROM books ORDER BY id LIMIT %s", TITLES)
    ]
    set_stock(database, books, COPIES * 100)  # Enough while the carts are filled ...
    dice = random.Random(7)
    async with AsyncExitStack() as stack:
        clients = await asyncio.gather(
            *(
                guests_with_full_carts(
                    stack, web.url, [dice.sample(books, 2) for _ in range(ORDERS_EACH)]
                )
                for _ in range(CLIENTS)
            )
        )
        set_stock(database, books, COPIES)  # ... and too little for all orders.
        placed = await asyncio.gather(*map(place_one_after_the_other, clients))
    await asyncio.to_thread(wait_until_idle, database)

    numbers = [number for each in placed for number in each]
    decided = [row for row in rows(database, "SELECT * FROM orders") if row["number"] in numbers]
    counts = Counter(order["status"] for order in decided)
    assert len(set(numbers)) == len(decided) == CLIENTS * ORDERS_EACH
    assert counts["confirmed"] + counts["rejected"] == CLIENTS * ORDERS_EACH
    assert 300 <= counts["confirmed"] <= 450
    assert web.run("doctor").returncode == 0

    emails = Counter(message["Subject"].split()[-1] for message in sink.emails)
    assert {emails[number] for number in numbers} == {2}
    assert len({message["Message-ID"] for message in sink.emails}) == len(sink.emails)

    events = rows(database, "SELECT * FROM order_events WHERE worker IS NOT NULL")
    assert len({event["worker"] for event in events}) >= 2
    assert most_at_once(events) >= 8


def wait_until_idle(database, timeout_s=60):
    wait_until(
        lambda: not rows(database, "SELECT 1 FROM tasks WHERE dead_at IS NULL LIMIT 1"), timeout_s
    )


def most_at_once(events):
    """The largest number of orders processed at the same moment."""
    edges = []
    for event in events:
        begins = event["at"].timestamp()
        edges += [(begins, 1), (begins + event["worked_ms"] / 1000, -1)]
    at_once = most = 0
    for _, change in sorted(edges):
        at_once += change
        most = max(most, at_once)
    return most


async def test_an_order_in_an_idle_store_is_confirmed_quickly(web, workers, database):
    (book,) = rows(database, "SELECT id FROM books ORDER BY id DESC LIMIT 1")
    set_stock(database, [book["id"]], 5)
    async with Shopper(web.url) as shopper:
        await shopper.register()
        await shopper.fill_cart({book["id"]: 1})

        order = await shopper.decided(await shopper.order(), timeout_s=5)

    assert order["status"] == "confirmed"


async def test_stopping_workers_finish_and_leave_nothing_half_done(web, workers, database):
    (book,) = rows(database, "SELECT id FROM books ORDER BY id DESC LIMIT 1")
    set_stock(database, [book["id"]], 50)
    async with AsyncExitStack() as stack:
        guests = [await stack.enter_async_context(Shopper(web.url)) for _ in range(20)]
        for guest in guests:
            await guest.fill_cart({book["id"]: 1})
        await asyncio.gather(*(guest.order(email="guest@example.com") for guest in guests))

    code = await asyncio.to_thread(workers.stop)

    assert code == 0
    assert web.run("doctor").returncode == 0
    workers.start()
    await asyncio.to_thread(wait_until_idle, database)
    assert web.run("doctor").returncode == 0


class SingleWorker(Workers):
    command = ("-m", "bookstore.cli", "worker", "-p", "1", "-t", "8")


@pytest.mark.timeout(240)  # All workers restart, and an e-mail takes twenty seconds.
async def test_a_worker_finishes_its_email_on_the_first_signal_and_ends_on_the_second(
    settings, web, workers, database, sink
):
    await asyncio.to_thread(workers.stop)
    (book,) = rows(database, "SELECT id FROM books ORDER BY id DESC LIMIT 1")
    set_stock(database, [book["id"]], 50)
    sink.delay_s, arrived = 20, len(sink.emails)
    under_way = "SELECT id FROM notifications WHERE status = 'sending'"
    with SingleWorker(settings) as other:
        async with Shopper(web.url) as guest:
            await guest.fill_cart({book["id"]: 1})
            await guest.order(email="guest@example.com")
        await asyncio.to_thread(wait_until, lambda: len(rows(database, under_way)) == 2, 10)

        other._signal(signal.SIGTERM)
        other._signal(signal.SIGTERM)  # The same signal, sent to the group.
        await asyncio.sleep(5)
        stopped_once = other.running
        other._signal(signal.SIGTERM)
        await asyncio.to_thread(wait_until, lambda: not other.running, 5)
        left = rows(database, under_way)
    sink.delay_s = 0
    with database[1].cursor() as cursor:  # Leases and pauses expire.
        cursor.execute("UPDATE notifications SET lease_until = lease_until - INTERVAL 2 MINUTE")
        cursor.execute("UPDATE tasks SET due_at = due_at - INTERVAL 2 MINUTE")
    database[1].commit()
    workers.start()
    await asyncio.to_thread(wait_until_idle, database)

    assert stopped_once
    assert len(left) == 2
    assert len(sink.emails) >= arrived + 2
    assert web.run("doctor").returncode == 0


async def test_a_web_process_finishes_requests_on_the_first_signal_and_ends_on_the_second(
    settings, web
):
    with Web(settings) as other:
        _, writer = await asyncio.open_connection("127.0.0.1", other.port)
        writer.write(
            b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        await writer.drain()
        await asyncio.sleep(0.5)

        other._signal(signal.SIGTERM)
        other._signal(signal.SIGTERM)  # The same signal, sent to the group.
        await asyncio.sleep(3)
        stopped_once = other.running
        other._signal(signal.SIGTERM)
        await asyncio.to_thread(wait_until, lambda: not other.running, 3)

        assert stopped_once
        assert other._process.returncode == -signal.SIGTERM
        writer.close()


async def test_a_web_process_leaves_the_load_balancer_before_its_port_closes(settings, web):
    with Web({**settings, "BOOKSTORE_STOP_DELAY_S": "300"}) as other:
        other._signal(signal.SIGTERM)
        async with ClientSession(other.url) as client:

            async def status(path):
                async with client.get(path) as response:
                    return response.status

            for _ in range(100):
                if await status("/readyz") == 503:
                    break
            served = await status("/"), await status("/healthz"), await status("/readyz")

    assert served == (200, 200, 503)


def test_a_web_process_ends_when_the_delay_is_over(settings, web):
    with Web({**settings, "BOOKSTORE_STOP_DELAY_S": "0.2"}) as other:
        assert other.stop() == 0


def test_all_lines_of_workers_are_json(settings, web):
    """From start to end, of the first process and its child processes."""
    with SingleWorker(settings) as other:
        assert other.stop() == 0
        lines = other.output().splitlines()

    assert {"event", "level", "timestamp"} <= set.intersection(*map(set, map(json.loads, lines)))


async def test_two_web_processes_share_a_port_and_stop_together(settings, web, workers, database):
    class TwoWebs(Web):
        command = ("-m", "bookstore.cli", "web", "--processes", "2")

    (book,) = rows(database, "SELECT id FROM books ORDER BY id DESC LIMIT 1")
    set_stock(database, [book["id"]], 50)
    with TwoWebs(settings) as webs:
        async with AsyncExitStack() as stack:
            guests = [await stack.enter_async_context(Shopper(webs.url)) for _ in range(10)]
            for guest in guests:
                await guest.fill_cart({book["id"]: 1})
            placed = await asyncio.gather(*(guest.order(email="g@example.com") for guest in guests))
            decided = [await guests[0].decided(order) for order in placed]

        assert await asyncio.to_thread(webs.stop) == 0
    assert {order["status"] for order in decided} == {"confirmed"}
