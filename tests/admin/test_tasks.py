"""The page of the queues beside a real RabbitMQ: what it says of it."""

import asyncio
import time
from dataclasses import replace
from itertools import count

import aio_pika
import pytest

from bookstore.tasks.outbox import Offer, Task
from bookstore.tasks.publisher import QUEUES
from bookstore.users.permissions import Role
from tests.admin.conftest import read
from tests.servers.process import free_port
from web.server.keys import PUBLISHER

pytestmark = pytest.mark.timeout(180)
#: RabbitMQ counts every five seconds; a machine that is busy with other tests is late.
COUNTED_S = 60


@pytest.fixture
def admin_url(request, rabbitmq):
    """Where the management API answers, or would if it did."""
    chosen = getattr(request, "param", "right")
    if chosen == "away":
        return f"http://127.0.0.1:{free_port()}"
    if chosen == "wrong password":
        return f"http://bookstore:wrong@127.0.0.1:{rabbitmq.management_port}"
    return rabbitmq.admin_url


@pytest.fixture
def settings(settings, broker_url, admin_url):
    """The settings of a store with a broker."""
    return replace(settings, broker_url=broker_url, broker_admin_url=admin_url)


def rows(page):
    """The cells of the broker's queues by their names."""
    section = page.html.partition("What the broker says")[2].partition("</table>")[0]
    lines = section.partition("<tbody>")[2].split("<tr>")[1:]
    cells = [[part.partition(">")[2] for part in line.split("<t")[1:]] for line in lines]
    return {
        line[0].partition("<")[0]: [cell.partition("<")[0] for cell in line[1:]] for line in cells
    }


def bulk(page, place):
    """A cell of one queue; nothing while the broker is too slow to say."""
    return rows(page).get("bulk", [""] * 6)[place]


def rates(page):
    return [bulk(page, 4), bulk(page, 5)]


async def seen(client, wanted, meanwhile=lambda: None):
    """The page as soon as it is as wanted."""
    deadline = time.monotonic() + COUNTED_S
    while not wanted(page := await read(client, "/admin/queues")):
        assert time.monotonic() < deadline, page.text
        meanwhile()
        await asyncio.sleep(0.3)
    return page


async def test_the_broker_says_what_waits_who_takes_it_and_how_fast(visitor, server, broker_url):
    manager = await visitor(Role.MANAGER)
    numbers = count(1)

    def offer(messages=1):
        server.app[PUBLISHER].offer([Offer(Task.RUN_JOBS, next(numbers)) for _ in range(messages)])

    def moves(page):
        return "" not in rates(page) and "0.0/s" not in rates(page) and "–" not in rates(page)

    await seen(manager, lambda page: bulk(page, 0) == "0")
    offer(7)
    full = await seen(manager, lambda page: bulk(page, 0) == "7")

    async def take(message):
        await message.ack()

    connection = await aio_pika.connect(broker_url)
    async with connection, connection.channel() as channel:
        queue = await channel.get_queue("bulk")
        await queue.consume(take)
        moving = await seen(manager, moves, meanwhile=offer)

    assert {*rows(full)} == {*QUEUES.values()}
    assert rows(full)["bulk"][:4] == ["7", "0", "0", "0"]
    assert "Nobody works on bulk ." in full.text
    assert "7 messages wait." in full.text
    assert bulk(moving, 1) == "1"
    assert rows(moving)["orders"][4:] == ["0.0/s", "0.0/s"]
    assert "Nobody works on" not in moving.text
    assert "management API" not in moving.text


@pytest.mark.parametrize("admin_url", ["away", "wrong password"], indirect=True)
async def test_depths_are_told_where_the_management_api_is_silent(visitor):
    manager = await visitor(Role.MANAGER)

    page = await seen(manager, lambda page: rows(page).get("orders"))

    assert rows(page)["orders"] == ["0", "0", "0", "0", "–", "–"]
    assert "How fast they move is not known" in page.text
