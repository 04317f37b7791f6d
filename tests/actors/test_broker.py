"""What dramatiq would lose, and what of ours keeps it."""

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
from bookstore.tasks.outbox import Offer, Task
from bookstore.tasks.publisher import QUEUES, RabbitPublisher, queue_arguments
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def test_every_task_has_an_actor_in_its_queue():
    assert {name: actor.queue_name for name, actor in broker.actors.items()} == QUEUES


def test_every_actor_says_how_it_is_retried():
    for actor in broker.actors.values():
        assert actor.options["max_retries"] is None
        assert actor.options["max_backoff"] <= 60_000
        assert actor.options["time_limit"] <= 600_000


def test_every_actor_ends_by_itself_long_before_dramatiq_ends_it():
    letters = delivery.LIST_S + delivery.TURN_S + smtp.DEADLINE_S + delivery.MENDING_S
    longest_s = {
        "process_orders": batching.DEADLINE_S,
        "send_notifications": letters,
        "run_jobs": jobs.LIST_S + job_runner.SLICE_S,
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
    rabbit = StoreBroker(queue_type=queue_type, url=broker_url, middleware=[])

    for queue in QUEUES.values():
        rabbit.declare_queue(queue, ensure=True)  # Raises when it is declared differently.

    assert rabbit._build_queue_arguments("orders") == queue_arguments(queue_type, "orders")
    rabbit.close()


async def until(happened, timeout_s=15):
    ends = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < ends, "it did not happen"
        await asyncio.sleep(0.02)


async def test_what_is_offered_reaches_the_actors_in_lists(broker_url):
    async with RabbitPublisher([broker_url], queue_type="classic", name="test") as publisher:
        await until(lambda: publisher.ready)
        publisher.offer([Offer(Task.PROCESS_ORDERS, number) for number in range(1, 121)])
    rabbit = StoreBroker(queue_type="classic", url=broker_url, middleware=[])
    consumer = rabbit.consume("orders", prefetch=10, timeout=1000)

    lists = [next(consumer).args[0] for _ in range(3)]

    consumer.connection.close()
    rabbit.close()
    assert sorted(map(len, lists)) == [20, 50, 50]
    assert sorted(chain.from_iterable(lists)) == list(range(1, 121))


async def test_what_is_offered_while_the_first_connection_is_made_waits_for_it(
    broker_url, rabbitmq
):
    async with RabbitPublisher([broker_url], queue_type="classic", name="test") as publisher:
        publisher.offer([Offer(Task.PROCESS_ORDERS, 1)])
        await until(lambda: publisher.ready)
    rabbit = StoreBroker(queue_type="classic", url=broker_url, middleware=[])

    assert rabbit.get_queue_message_counts("orders")[0] == 1

    rabbit.close()


async def test_a_publisher_says_how_many_messages_wait_and_makes_a_lost_queue_anew(
    broker_url, rabbitmq
):
    vhost = broker_url.rpartition("/")[2]
    async with RabbitPublisher([broker_url], queue_type="classic", name="test") as publisher:
        await until(lambda: publisher.ready)
        publisher.offer([Offer(Task.PROCESS_ORDERS, number) for number in range(120)])
        await asyncio.sleep(0.5)
        full = await publisher.waiting()
        await asyncio.to_thread(rabbitmq.ask, "DELETE", f"queues/{vhost}/orders")

        lost = await publisher.waiting()
        publisher.offer([Offer(Task.PROCESS_ORDERS, 1)])
        await asyncio.sleep(0.5)
        found = await publisher.waiting()

    assert [counts["orders"] for counts in (full, lost, found)] == [3, 0, 1]


async def test_a_publisher_without_a_broker_takes_nothing_and_says_so():
    async with RabbitPublisher(
        ["amqp://127.0.0.1:1/"], queue_type="classic", name="test"
    ) as publisher:
        publisher.offer([Offer(Task.PROCESS_ORDERS, 1)])

        assert not publisher.ready


@pytest.fixture
def collected_by_hand(caplog):
    caplog.set_level("CRITICAL", "aiormq")  # Its lines would keep the connections alive.
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collected_by_hand")
@pytest.mark.parametrize("trouble", ["refuse", "cut", "swallow"])
async def test_a_broken_connection_leaves_nothing_for_the_garbage_collector(
    broker_url, monkeypatch, trouble
):
    # aio-pika closes what it has lost with a task, and the collector may run in a thread that has
    # no event loop: there it leaves a coroutine that nobody awaits, for which this test fails.
    monkeypatch.setattr(messages, "RECONNECT_S", 0.01)
    url = URL(broker_url)
    with Proxy(url.port) as link:
        async with RabbitPublisher(
            [str(url.with_port(link.port))], queue_type="classic", name="test"
        ) as publisher:
            await until(lambda: publisher.ready)
            getattr(link, trouble)()
            await asyncio.sleep(0.5)  # It tries again and again.
    await asyncio.sleep(0.1)  # The proxy is gone, and with it what it held.

    await asyncio.to_thread(gc.collect)


async def test_a_publisher_finds_a_broker_that_comes_back(broker_url, rabbitmq):
    async with RabbitPublisher([broker_url], queue_type="classic", name="test") as publisher:
        await until(lambda: publisher.ready)

        await asyncio.to_thread(cut_connection, rabbitmq, broker_url)
        await until(lambda: not publisher.ready)
        await until(lambda: publisher.ready)


def cut_connection(rabbitmq, broker_url):
    ends = time.monotonic() + 15
    while time.monotonic() < ends:  # The management plugin learns of a connection late.
        for connection in rabbitmq.ask("GET", "connections"):
            if broker_url.endswith("/" + connection["vhost"]):
                rabbitmq.ask("DELETE", f"connections/{quote(connection['name'], safe='')}")
                return
        time.sleep(0.2)
    raise AssertionError("no connection to cut")
