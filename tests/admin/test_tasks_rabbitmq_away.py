"""The page of the queues while RabbitMQ is killed or frozen, and after its recovery."""

import time
from dataclasses import replace

import pytest

from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task
from bookstore.users.permissions import Role
from tests.admin.conftest import read
from tests.admin.queue_page import queue_cells, wait_for_page
from tests.factories import NOON
from tests.servers.rabbitmq import RabbitMQServer

pytestmark = pytest.mark.timeout(180)
#: Time limit for the page in any state of the broker: each request to the broker has a timeout of
#: one second.
MAX_ANSWER_S = 6


@pytest.fixture(scope="module")
def own_broker():
    with RabbitMQServer() as server:
        yield server


@pytest.fixture
def settings(settings, own_broker):
    client = own_broker.client
    return replace(settings, broker_url=client.url(), broker_admin_url=client.admin_url)


@pytest.mark.parametrize("failure", ["kill", "freeze"])
async def test_waiting_tasks_are_shown_while_the_broker_is_unreachable(
    visitor, database, own_broker, failure
):
    manager = await visitor(Role.MANAGER)
    async with database() as conn:
        await outbox.add(conn, Task.RUN_JOBS, [7], now=NOON)
    await wait_for_page(manager, lambda page: queue_cells(page).get("orders"))

    getattr(own_broker, failure)()
    started = time.monotonic()
    unreachable = await wait_for_page(
        manager, lambda page: "The message broker is not reachable." in page.text
    )
    duration_s = time.monotonic() - started
    home = await read(manager, "/admin?days=7")
    own_broker.thaw() if failure == "freeze" else own_broker.start()
    back = await wait_for_page(manager, lambda page: queue_cells(page).get("orders"))

    assert duration_s < MAX_ANSWER_S
    assert "stored in the database" in unreachable.text
    assert "/admin/queues?state=waiting" in unreachable.links
    assert "1 task is waiting." in unreachable.text
    assert queue_cells(unreachable) == {}
    assert home.status == 200
    assert "The message broker is not reachable." not in back.text
