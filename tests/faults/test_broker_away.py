"""RabbitMQ is killed, down, erased, or loses everything, with orders in flight."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.faults.figures import FULL, figure
from tests.faults.store import ScaledOut, all_accepted, steadily
from tests.faults.thief import stealing
from tests.servers.rabbitmq import RabbitMQServer

KILLS = figure(1, 20)
ORDERS, AT_ONCE = 60, 5
PER_SECOND = 5
AWAY_S = figure(5, 180)
USUAL = 25
STOLEN_S = figure(5, 300)
#: All accepted orders are processed within this time after the broker is back.
BACK_S = 60


@pytest.fixture(scope="module")
def server():
    with RabbitMQServer() as server:
        yield server


@pytest.fixture(scope="module")
def store(mariadb, server, tmp_path_factory):
    with ScaledOut(
        mariadb, server.client, tmp_path_factory.mktemp("broker"), "broker_away"
    ) as store:
        store.start()
        yield store


@asynccontextmanager
async def open_store(store, count):
    async with AsyncExitStack() as stack:
        yield await store.customers(stack, count)


async def all_done(store, within_s=BACK_S):
    """The time until nothing was left to do, without dead tasks."""
    if not FULL:
        store.pass_time()  # Otherwise the next pass of the relay may be 30 seconds away.
    began = time.monotonic()
    await asyncio.to_thread(store.wait_until_idle, within_s)
    assert store.rows("SELECT * FROM tasks") == []
    return round(time.monotonic() - began, 1)


def asked_twice(customers):
    """Customers whose first request was not accepted."""
    return [c.answers for c in customers if [a.status for a in c.answers] != [202]]


async def test_a_broker_killed_in_mid_flow_loses_no_order_and_refuses_none(
    store, server, record_property
):
    async with open_store(store, KILLS * ORDERS) as customers:
        for start in range(0, len(customers), AT_ONCE):
            if start % ORDERS == ORDERS // 3:
                server.kill()
                server.start()
            await all_accepted(customers[start : start + AT_ONCE])
            if start % ORDERS == ORDERS - AT_ONCE:
                await asyncio.to_thread(server.wait)

    record_property("kills", KILLS)
    record_property("orders", len(customers))
    record_property("seconds until all was done", await all_done(store))
    assert asked_twice(customers) == []
    assert await store.findings() == []


async def test_a_broker_that_is_away_refuses_no_order_and_costs_a_minute(
    store, server, record_property
):
    async with open_store(store, USUAL + PER_SECOND * AWAY_S) as customers:
        as_usual, meanwhile = customers[:USUAL], customers[USUAL:]
        usual_s = await steadily(as_usual, PER_SECOND)
        server.kill()
        away_s = await steadily(meanwhile, PER_SECOND)
    server.start()
    await asyncio.to_thread(server.wait)

    record_property("orders", len(meanwhile))
    record_property("p95 of an order as usual", usual_s)
    record_property("and without a broker", away_s)
    record_property("seconds until all was done", await all_done(store))
    assert asked_twice(customers) == []
    assert await store.findings() == []


async def test_a_broker_that_lost_its_data_costs_a_minute_and_no_order(
    store, server, record_property
):
    async with open_store(store, ORDERS) as customers:
        third = ORDERS // 3
        await all_accepted(customers[:third])
        server.kill()
        server.wipe()
        server.start()
        for start in range(third, ORDERS, AT_ONCE):
            await all_accepted(customers[start : start + AT_ONCE])
    await asyncio.to_thread(server.wait)
    server.client.create_vhost(store.name)

    record_property("seconds until all was done", await all_done(store))
    assert asked_twice(customers) == []
    assert await store.findings() == []


async def test_a_broker_that_loses_all_it_confirms_costs_a_minute_and_no_order(
    store, server, record_property
):
    async with open_store(store, PER_SECOND * STOLEN_S) as customers:
        async with stealing(server.client.url(store.name)) as thief:
            await steadily(customers, PER_SECOND)
            waiting = store.waiting()
        record_property("messages lost", thief.taken)
        record_property("seconds until all was done", await all_done(store))
    assert thief.taken
    assert waiting == 2 * len(customers)  # Nothing was done: neither orders nor e-mails.
    assert asked_twice(customers) == []
    assert await store.findings() == []
