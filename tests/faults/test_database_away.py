"""MariaDB is killed, or hangs, under load."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from bookstore.database import engine as db
from tests.clock import own_time_s
from tests.faults.figures import figure
from tests.faults.proxy import Proxy
from tests.faults.store import ScaledOut
from tests.servers.mariadb import MariaDBServer
from tests.servers.process import wait_until

CLIENTS, ORDERS_EACH = 12, 12
#: How long it stays down each time that it is killed.
AWAY_S = figure([4.0], [1.0] * 20 + [120.0])
STILL_S = figure(4.0, 30.0)
#: The longest wait of a customer for the database, with a margin for this machine.
ANSWER_S = 2.0 + 1.0
BACK_S = 5.0


@pytest.fixture(scope="module")
def server():
    with MariaDBServer() as server:
        yield server


@pytest.fixture(scope="module")
def store(server, rabbitmq, tmp_path_factory):
    with ScaledOut(
        server.client, rabbitmq, tmp_path_factory.mktemp("database"), "database_away"
    ) as store:
        store.start()
        yield store


async def insist_one_after_the_other(customers, ends):
    for customer in customers:
        while await customer.ask_for_order() != 202:
            assert time.monotonic() < ends, customer.answers[-3:]
            await asyncio.sleep(0.1)


async def load_while(store, break_it, mend, away_s):
    """Clients order continuously; returns their answers, and when the outage began and ended."""
    async with AsyncExitStack() as stack:
        customers = await store.customers(stack, CLIENTS * ORDERS_EACH)
        ends = time.monotonic() + 60 + away_s
        loads = [
            asyncio.create_task(insist_one_after_the_other(customers[number::CLIENTS], ends))
            for number in range(CLIENTS)
        ]
        await asyncio.sleep(0.4)
        broken = time.monotonic()
        break_it()
        await asyncio.sleep(away_s)
        mend()  # Not in a thread: its child processes would end with the thread.
        await asyncio.to_thread(wait_until, store.mariadb.answers)
        mended = time.monotonic()
        await asyncio.gather(*loads)
    return [answer for customer in customers for answer in customer.answers], broken, mended


def check(answers, broken, mended, record_property):
    meanwhile = [a for a in answers if broken < a.asked_at + a.took_s and a.asked_at < mended]
    refused = [answer for answer in meanwhile if answer.status == 503]
    longest_s = max(answer.took_s for answer in meanwhile)
    first = min(a.asked_at + a.took_s for a in answers if a.status == 202 and a.asked_at > mended)
    record_property("answers of 503", len(refused))
    record_property("longest answer, s", round(longest_s, 2))
    record_property("first order again after, s", round(first - mended, 2))
    assert refused
    assert all(answer.retry_after for answer in refused)
    assert {answer.status for answer in answers} <= {202, 409, 503}
    assert longest_s < ANSWER_S
    assert first - mended < BACK_S


@pytest.mark.parametrize("away_s", AWAY_S)
async def test_a_database_killed_under_load_keeps_every_order_it_promised(
    store, server, away_s, record_property
):
    programs = store.web.pid, store.workers.pid

    seen = await load_while(store, server.kill, server.start, away_s)
    await asyncio.to_thread(store.settle)

    check(*seen, record_property)
    assert (store.web.pid, store.workers.pid) == programs
    assert store.web.running
    assert store.workers.running
    assert await store.findings() == []


async def test_a_database_that_stands_still_keeps_nobody_waiting(store, server, record_property):
    seen = await load_while(store, server.freeze, server.thaw, STILL_S)
    await asyncio.to_thread(store.settle)

    check(*seen, record_property)
    assert await store.findings() == []


async def test_a_customer_waits_so_long_in_all_not_so_long_for_each_thing(
    server, rabbitmq, tmp_path
):
    with (
        Proxy(server.port) as link,
        ScaledOut(server.client, rabbitmq, tmp_path, "slow_link") as store,
    ):
        there = store.database_url
        store.web.settings["BOOKSTORE_DATABASE_URL"] = there.replace(
            f":{server.port}/", f":{link.port}/"
        )
        store.web.start()
        store.web.wait()
        async with AsyncExitStack() as stack:
            (customer,) = await store.customers(stack, 1)
            link.delay_s = (
                0.8  # The session lookup uses nearly the whole deadline; then the order follows.
            )
            await customer.ask_for_order()

    (answer,) = customer.answers
    assert answer.status == 503
    assert answer.took_s < ANSWER_S


async def test_to_give_a_connection_back_needs_no_answer(server):
    with Proxy(server.port) as link:
        url = server.client.create_database("given_back")
        engine = db.make_engine(url.replace(f":{server.port}/", f":{link.port}/"))
        # The link fails after COMMIT, while the connection is returned to the pool.
        event.listen(engine.sync_engine.pool, "reset", lambda *_: link.swallow())
        began = own_time_s()

        async with db.transaction(engine) as conn:
            await conn.execute(text("SELECT 1"))

        took_s = own_time_s() - began
        link.cut()
        await engine.dispose()
    assert took_s < 1


async def test_what_a_host_that_fell_silent_had_locked_is_free_again_in_seconds(server):
    url = server.client.create_database("fell_silent")
    silent, other = (db.make_engine(url, timeout_s=1, lock_wait_s=1) for _ in range(2))
    async with db.transaction(silent) as conn:
        await conn.execute(text("CREATE TABLE pile (id INT PRIMARY KEY)"))
        await conn.execute(text("INSERT INTO pile VALUES (7)"))

    async with silent.connect() as conn:  # From now on the link is silent and stays open.
        await conn.execute(text("SELECT id FROM pile WHERE id = 7 FOR UPDATE"))
        with pytest.raises(DBAPIError, match="Lock wait timeout"):
            await take(other)
        await asyncio.sleep(3)
        taken = await take(other)
        await conn.invalidate()

    assert taken == 1
    for engine in (silent, other):
        await engine.dispose()


async def take(engine):
    async with engine.connect() as conn:
        return (await conn.execute(text("DELETE FROM pile WHERE id = 7"))).rowcount
