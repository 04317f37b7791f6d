"""The page of the queues with a real RabbitMQ: depths, consumers and rates."""

from dataclasses import replace
from itertools import count

import aio_pika
import pytest

from bookstore.tasks.outbox import Task, TaskRef
from bookstore.tasks.publisher import QUEUES
from bookstore.users.permissions import Role
from tests.admin.queue_page import queue_cells, wait_for_page
from tests.servers.process import free_port
from web.server.keys import PUBLISHER

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def admin_url(request, rabbitmq):
    """The URL of the management API, by parameter: a working one, an unused port, a wrong login."""
    variant = getattr(request, "param", "right")
    if variant == "away":
        return f"http://127.0.0.1:{free_port()}"
    if variant == "wrong password":
        return f"http://bookstore:wrong@127.0.0.1:{rabbitmq.management_port}"
    return rabbitmq.admin_url


@pytest.fixture
def settings(settings, broker_url, admin_url):
    """The settings of a store with a broker."""
    return replace(settings, broker_url=broker_url, broker_admin_url=admin_url)


def bulk_cell(page, column):
    """One cell of the queue `bulk`; empty while the broker has not answered in time."""
    return queue_cells(page).get("bulk", [""] * 6)[column]


def rates(page):
    return [bulk_cell(page, 4), bulk_cell(page, 5)]


async def test_depths_consumers_and_rates_of_the_queues_are_shown(visitor, server, broker_url):
    manager = await visitor(Role.MANAGER)
    numbers = count(1)

    def publish(messages=1):
        server.app[PUBLISHER].publish(
            [TaskRef(Task.RUN_JOBS, next(numbers)) for _ in range(messages)]
        )

    def has_rates(page):
        return "" not in rates(page) and "0.0/s" not in rates(page) and "–" not in rates(page)

    await wait_for_page(manager, lambda page: bulk_cell(page, 0) == "0")
    publish(7)
    full = await wait_for_page(manager, lambda page: bulk_cell(page, 0) == "7")

    async def acknowledge(message):
        await message.ack()

    connection = await aio_pika.connect(broker_url)
    async with connection, connection.channel() as channel:
        queue = await channel.get_queue("bulk")
        await queue.consume(acknowledge)
        consuming = await wait_for_page(manager, has_rates, meanwhile=publish)

    assert {*queue_cells(full)} == {*QUEUES.values()}
    assert queue_cells(full)["bulk"][:4] == ["7", "0", "0", "0"]
    assert "No worker for queue bulk ." in full.text
    assert "7 messages are waiting." in full.text
    assert bulk_cell(consuming, 1) == "1"
    assert queue_cells(consuming)["orders"][4:] == ["0.0/s", "0.0/s"]
    assert "No worker for queue" not in consuming.text
    assert "management API" not in consuming.text


@pytest.mark.parametrize("admin_url", ["away", "wrong password"], indirect=True)
async def test_depths_are_shown_without_the_management_api(visitor):
    manager = await visitor(Role.MANAGER)

    page = await wait_for_page(manager, lambda page: queue_cells(page).get("orders"))

    assert queue_cells(page)["orders"] == ["0", "0", "0", "0", "–", "–"]
    assert "Rates are not available" in page.text
