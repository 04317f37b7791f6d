"""Guards against losing messages between the store and RabbitMQ."""

import asyncio

import aio_pika
import dramatiq
import pytest
from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Retries

from actors.broker import Consumer, SafeRetries, StoreBroker, _RabbitmqConsumer
from bookstore.tasks.outbox import Task, TaskRef
from bookstore.tasks.publisher import RabbitPublisher
from tests.servers.process import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


async def test_publisher_confirms(broker_url, rabbitmq, guarded, monkeypatch, pytestconfig):
    if not guarded:
        channel = aio_pika.Connection.channel

        def unconfirmed(self, *_args, **_named):
            return channel(self, publisher_confirms=False)

        monkeypatch.setattr(aio_pika.Connection, "channel", unconfirmed)
        monkeypatch.setattr(RabbitPublisher, "_publish", blind_publish)
    vhost = broker_url.rpartition("/")[2]
    async with RabbitPublisher([broker_url], queue_type="classic", name="test") as publisher:
        await asyncio.to_thread(wait_until, lambda: publisher.ready)
        await asyncio.to_thread(rabbitmq.ask, "DELETE", f"queues/{vhost}/orders")
        publisher.publish([TaskRef(Task.PROCESS_ORDERS, 1)])  # It is not routed.
        await asyncio.sleep(3)

        there = [
            queue["name"]
            for queue in await asyncio.to_thread(rabbitmq.ask, "GET", f"queues/{vhost}")
        ]

    # After a negative confirm the publisher reconnects and declares the queue again.
    assert ("orders" in there) == guarded


async def blind_publish(self, message):
    await self._channel.default_exchange.publish(
        aio_pika.Message(message.encode()), routing_key=message.queue_name, mandatory=False
    )


def stale_acknowledgement(broker_url, consumer_class):
    """The number of messages left of two when the first is acknowledged after a reconnect."""
    rabbit = StoreBroker(queue_type="classic", url=broker_url, middleware=[])
    rabbit.declare_queue("orders", ensure=True)
    for number in (1, 2):
        rabbit.enqueue(dramatiq.Message("orders", "process_orders", ([number],), {}, {}))
    before = consumer_class(rabbit, "orders", 1, 5000)
    taken = next(before)
    before.connection.close()  # The link is cut: RabbitMQ redelivers both.
    after = consumer_class(rabbit, "orders", 1, 5000)
    assert next(after) is not None

    after.ack(taken)

    for _ in range(5):
        after.connection.process_data_events(0.1)
    after.connection.close()
    left = rabbit.get_queue_message_counts("orders")[0]
    rabbit.close()
    return left


def test_consumer_that_acknowledges_only_its_own(broker_url, guarded):
    # If this fails without the guard, the library has fixed it, and `Consumer` can be removed.
    consumer_class = Consumer if guarded else _RabbitmqConsumer

    assert (stale_acknowledgement(broker_url, consumer_class) == 2) == guarded


class NoDelays(StubBroker):
    """A broker that refuses delayed messages."""

    def enqueue(self, message, *, delay=None):
        if delay is not None:
            raise ConnectionError("publishers are blocked")
        return super().enqueue(message, delay=delay)


def dead_emails_of_a_failure(retries):
    stub = NoDelays(middleware=[retries])

    @dramatiq.actor(broker=stub, queue_name="orders")
    def fail():
        raise ValueError("try again")

    worker = Worker(stub, worker_timeout=10, worker_threads=1)
    worker.start()
    fail.send()
    stub.join("orders", fail_fast=False, timeout=10_000)
    worker.stop()
    return len(stub.dead_letters)


def test_retry_that_is_not_lost(guarded):
    # The same here, for `SafeRetries`.
    retries = SafeRetries() if guarded else Retries()

    assert (dead_emails_of_a_failure(retries) == 1) == guarded
