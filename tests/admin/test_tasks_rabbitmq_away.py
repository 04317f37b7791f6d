"""The page of the queues while RabbitMQ is killed or frozen, and when it is back."""

import time
from dataclasses import replace

import pytest

from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task
from bookstore.users.permissions import Role
from tests.admin.conftest import read
from tests.admin.test_tasks import rows, seen
from tests.factories import NOON
from tests.servers.rabbitmq import RabbitMQServer

pytestmark = pytest.mark.timeout(180)
#: What the page may take whatever the broker does: it waits a second for each of its answers.
ANSWER_S = 6


@pytest.fixture(scope="module")
def own_broker():
    with RabbitMQServer() as server:
        yield server


@pytest.fixture
def settings(settings, own_broker):
    client = own_broker.client
    return replace(settings, broker_url=client.url(), broker_admin_url=client.admin_url)


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
async def test_what_waits_is_told_while_the_broker_is_away(visitor, database, own_broker, trouble):
    manager = await visitor(Role.MANAGER)
    async with database() as conn:
        await outbox.add(conn, Task.RUN_JOBS, [7], now=NOON)
    await seen(manager, lambda page: rows(page).get("orders"))

    getattr(own_broker, trouble)()
    began = time.monotonic()
    away = await seen(manager, lambda page: "The broker is away." in page.text)
    took_s = time.monotonic() - began
    other = await read(manager, "/admin?days=7")
    own_broker.thaw() if trouble == "freeze" else own_broker.start()
    back = await seen(manager, lambda page: rows(page).get("orders"))

    assert took_s < ANSWER_S
    assert "wait in the database" in away.text
    assert "/admin/queues?state=waiting" in away.links
    assert "1 task waits." in away.text
    assert rows(away) == {}
    assert other.status == 200
    assert "The broker is away." not in back.text
