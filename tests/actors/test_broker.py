"""The broker and its publisher: messages that dramatiq would lose, queues, reconnects."""

import asyncio
import gc
import time
from itertools import chain
from urllib.parse import quote

import pytest
from yarl import URL

from actors import batching, jobs
from actors.broker import StoreBroker, broker
from bookstore.notifications import delivery, smtp
from bookstore.tasks import job_runner
from bookstore.tasks import publisher as messages
from bookstore.tasks.outbox import Task, TaskRef
from bookstore.tasks.publisher import QUEUES, RabbitPublisher, queue_arguments
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def test_every_task_has_an_actor_in_its_queue():
    assert {name: actor.queue_name for name, actor in broker.actors.items()} == QUEUES


def test_every_actor_configures_its_retries():
    for actor in broker.actors.values():
        assert actor.options["max_retries"] is None
        assert actor.options["max_backoff"] <= 60_000
        assert actor.options["time_limit"] <= 600_000


def test_every_actor_stops_long_before_its_time_limit_in_dramatiq():
    email_delivery = (
        delivery.BATCH_DEADLINE_S
        + delivery.SLOT_TIMEOUT_S
        + smtp.DEADLINE_S
        + delivery.DATABASE_OUTAGE_TIMEOUT_S
    )
    longest_s = {
        "process_orders": batching.DEADLINE_S,
        "send_notifications": email_delivery,
        "run_jobs": jobs.BATCH_DEADLINE_S + job_runner.RUN_TIME_LIMIT_S,
    }

    limits_s = {name: actor.options["time_limit"] / 1000 for name, actor in broker.actors.items()}

    assert {*longest_s} == {*limits_s}
    assert {name for name, limit_s in limits_s.items() if longest_s[name] > 0.8 * limit_s} == set()


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_publisher_and_workers_declare_the_same_queues(broker_url, rabbitmq, queue_type):
    async def declare():
        async with RabbitPublisher([broker_url], queue_type=queue_type, name="test") as publisher:
            await until(lambda: publisher.ready)

    asyncio.run(declare())
    consumer_broker = StoreBroker(queue_type=queue_type, url=broker_url, middleware=[])

    for queue in QUEUES.values():
        consumer_broker.declare_queue(queue, ensure=True)  # Raises if it is declared differently.

    assert consumer_broker._build_queue_arguments("orders") == queue_arguments(queue_type, "orders")
    consumer_broker.close()


async def until(condition, timeout_s=15):
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        await asyncio.sleep(0.02)


async def test_tasks_are_published_in_lists(broker_url):
    async with RabbitPublisher([broker_url], queue_type="classic", name="test") as publisher:
        await until(lambda: publisher.ready)
        publisher.publish([TaskRef(Task.PROCESS_ORDERS, number) for number in range(1, 121)])
    consumer_broker = StoreBroker(queue_type="classic", url=broker_url, middleware=[])
    consumer = consumer_broker.consume("orders", prefetch=10, timeout=1000)

    lists = [next(consumer).args[0] for _ in range(3)]

    consumer.connection.close()
    consumer_broker.close()
    assert sorted(map(len, lists)) == [20, 50, 50]
    assert sorted(chain.from_iterable(lists)) == list(range(1, 121))


async def test_tasks_published_before_the_first_connection_are_buffered(broker_url, rabbitmq):
    async with RabbitPublisher([broker_url], queue_type="classic", name="test") as publisher:
        publisher.publish([TaskRef(Task.PROCESS_ORDERS, 1)])
        await until(lambda: publisher.ready)
    consumer_broker = StoreBroker(queue_type="classic", url=broker_url, middleware=[])

    assert consumer_broker.get_queue_message_counts("orders")[0] == 1

    consumer_broker.close()


async def test_a_publisher_counts_waiting_messages_and_declares_a_deleted_queue_again(
    broker_url, rabbitmq
):
    vhost = broker_url.rpartition("/")[2]
    async with RabbitPublisher([broker_url], queue_type="classic", name="test") as publisher:
        await until(lambda: publisher.ready)
        publisher.publish([TaskRef(Task.PROCESS_ORDERS, number) for number in range(120)])
        await asyncio.sleep(0.5)
        full = await publisher.waiting()
        await asyncio.to_thread(rabbitmq.ask, "DELETE", f"queues/{vhost}/orders")

        lost = await publisher.waiting()
        publisher.publish([TaskRef(Task.PROCESS_ORDERS, 1)])
        await asyncio.sleep(0.5)
        found = await publisher.waiting()

    assert [counts["orders"] for counts in (full, lost, found)] == [3, 0, 1]


async def test_a_publisher_without_a_broker_is_not_ready():
    async with RabbitPublisher(
        ["amqp://127.0.0.1:1/"], queue_type="classic", name="test"
    ) as publisher:
        publisher.publish([TaskRef(Task.PROCESS_ORDERS, 1)])

        assert not publisher.ready


@pytest.fixture
def manual_garbage_collection(caplog):
    caplog.set_level("CRITICAL", "aiormq")  # Its log records would keep the connections alive.
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("manual_garbage_collection")
@pytest.mark.parametrize("fault", ["refuse", "cut", "swallow"])
async def test_a_broken_connection_leaves_nothing_to_the_garbage_collector(
    broker_url, monkeypatch, fault
):
    # aio-pika closes a lost connection in a task.  If the garbage collector runs in a thread
    # without an event loop, it leaves a coroutine that is never awaited, and this test fails for
    # that.
    monkeypatch.setattr(messages, "RECONNECT_DELAY_S", 0.01)
    url = URL(broker_url)
    with Proxy(url.port) as proxy:
        async with RabbitPublisher(
            [str(url.with_port(proxy.port))], queue_type="classic", name="test"
        ) as publisher:
            await until(lambda: publisher.ready)
            getattr(proxy, fault)()
            await asyncio.sleep(0.5)  # It reconnects repeatedly.
    await asyncio.sleep(0.1)  # The proxy has stopped and closed its connections.

    await asyncio.to_thread(gc.collect)


async def test_a_publisher_reconnects_to_the_broker(broker_url, rabbitmq):
    async with RabbitPublisher([broker_url], queue_type="classic", name="test") as publisher:
        await until(lambda: publisher.ready)

        await asyncio.to_thread(cut_connection, rabbitmq, broker_url)
        await until(lambda: not publisher.ready)
        await until(lambda: publisher.ready)


def cut_connection(rabbitmq, broker_url):
    ends = time.monotonic() + 15
    while time.monotonic() < ends:  # The management plugin lists a new connection late.
        for connection in rabbitmq.ask("GET", "connections"):
            if broker_url.endswith("/" + connection["vhost"]):
                rabbitmq.ask("DELETE", f"connections/{quote(connection['name'], safe='')}")
                return
        time.sleep(0.2)
    raise AssertionError("no connection to cut")
