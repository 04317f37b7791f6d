"""RabbitMQ is killed and erased with orders in flight."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from tests.faults.store import ScaledOut, all_accepted
from tests.servers.rabbitmq import RabbitMQServer

ORDERS = 60
AT_ONCE = 5


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


async def place_while(customers, break_it):
    """Everybody orders, a few at a time, and after a third of them something breaks."""
    third = len(customers) // 3
    for start in range(0, third, AT_ONCE):
        await all_accepted(customers[start : start + AT_ONCE])
    break_it()
    for start in range(third, len(customers), AT_ONCE):
        await all_accepted(customers[start : start + AT_ONCE])


async def test_a_broker_killed_in_mid_flow_loses_no_order_and_refuses_none(store, server):
    def kill():
        server.kill()
        server.start()

    async with AsyncExitStack() as stack:
        customers = await store.customers(stack, ORDERS)
        await place_while(customers, kill)
    await asyncio.to_thread(server.wait)
    back = time.monotonic()
    await asyncio.to_thread(store.wait_until_idle)

    assert time.monotonic() - back < 60
    assert [c.answers for c in customers if len(c.answers) > 1] == []
    assert await store.findings() == []


async def test_a_broker_that_lost_its_data_costs_a_minute_and_no_order(store, server):
    def erase():
        server.kill()
        server.wipe()
        server.start()

    async with AsyncExitStack() as stack:
        customers = await store.customers(stack, ORDERS)
        await place_while(customers, erase)
    await asyncio.to_thread(server.wait)
    server.client.create_vhost(store.name)
    back = time.monotonic()
    await asyncio.to_thread(store.wait_until_idle)

    assert time.monotonic() - back < 60
    assert [c.answers for c in customers if len(c.answers) > 1] == []
    assert await store.findings() == []
