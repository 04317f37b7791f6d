"""Publishes tasks to the actors, and order events to the web processes: wire format, queues,
connections.

A message only announces a row of the outbox, so publishing may fail: the relay republishes every
task whose message was lost.
"""

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, Generic, Protocol, Self, TypeVar

import aio_pika
import dramatiq
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractExchange,
    AbstractIncomingMessage,
    DeliveryMode,
    ExchangeType,
)
from aio_pika.connection import make_url
from aio_pika.exceptions import AMQPException, ChannelNotFoundEntity
from dramatiq.brokers.stub import StubBroker

from bookstore.database.failpoints import failpoint
from bookstore.tasks.outbox import Task, TaskRef

T = TypeVar("T")

log = logging.getLogger(__name__)

#: The queue of each kind of work.  E-mails have their own queue, so that they never delay orders.
QUEUES = {
    Task.PROCESS_ORDERS: "orders",
    Task.SEND_NOTIFICATIONS: "notifications",
    Task.RUN_JOBS: "bulk",
}
#: The exchange for events, and the routing key of changed orders.
EXCHANGE, ORDERS_CHANGED = "bookstore.events", "orders.changed"
#: The most ids in one message.  More than 50 gain nothing, fewer than 20 cost much throughput.
MAX_IDS = 50
#: A job takes long, so each has its own message.
UNBATCHED = frozenset({Task.RUN_JOBS})
#: Tasks within this time are published together.  The time until a publisher confirm is too short
#: to collect a batch.
BATCH_WINDOW_S = 0.01
#: Tasks that a process buffers while the broker is unavailable.  The relay publishes the others.
BUFFER_SIZE = 1000
CONNECT_TIMEOUT_S = 3.0
PUBLISH_TIMEOUT_S = 5.0
#: The page of queues waits at most this long for the broker.
DEPTHS_TIMEOUT_S = 1.0
RECONNECT_DELAY_S = 1.0
#: At shutdown, what is still buffered after this long is left to the relay.
CLOSE_TIMEOUT_S = 2.0
HEARTBEAT_S = 10


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """A queue at the broker: its waiting messages and its consumers."""

    queue: str
    ready: int
    consumers: int


class Publisher(Protocol):
    """Publishes tasks to their actors."""

    def publish(self, tasks: Sequence[TaskRef]) -> None:
        """Publish soon, from the event loop or any thread; neither blocks nor raises."""

    @property
    def ready(self) -> bool:
        """Whether the broker would get a task that is published now."""

    async def waiting(self) -> Mapping[str, int]:
        """How many messages wait for a consumer, by queue.

        Raises:
            AMQPException, OSError, TimeoutError: the broker does not answer.
        """

    async def depths(self) -> list[QueueDepth]:
        """The broker's queues and their lengths; empty for a store without a broker.

        Raises:
            ConnectionError: the broker does not answer.
        """


def queue_arguments(queue_type: str, queue: str) -> dict[str, Any]:
    """The arguments of a queue; RabbitMQ requires every declaration to be the same.

    They are dramatiq's own arguments (2.2), and the type if `queue_type` is "quorum".
    """
    arguments: dict[str, Any] = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{queue}.XQ",
    }
    return arguments | ({"x-queue-type": "quorum"} if queue_type == "quorum" else {})


def to_messages(tasks: Sequence[TaskRef]) -> Iterator[dramatiq.Message[Any]]:
    """The messages for these tasks, grouped by kind of work, each with up to `MAX_IDS` ids."""
    ordered = sorted(set(tasks))
    for task, group in groupby(ordered, attrgetter("task")):
        ids = [ref.ref_id for ref in group]
        length = 1 if task in UNBATCHED else MAX_IDS
        for start in range(0, len(ids), length):
            args = (ids[start : start + length],)
            yield dramatiq.Message(QUEUES[task], task, args, kwargs={}, options={})


class LocalPublisher:
    """Passes messages to the workers in this process."""

    ready = True

    def __init__(self, broker: StubBroker) -> None:
        self._broker = broker

    def publish(self, tasks: Sequence[TaskRef]) -> None:
        for message in to_messages(tasks):
            self._broker.enqueue(message)

    async def waiting(self) -> dict[str, int]:
        return {queue: self._broker.queues[queue].qsize() for queue in QUEUES.values()}

    async def depths(self) -> list[QueueDepth]:
        return []


class _Connection(ABC, Generic[T]):
    """A connection to RabbitMQ; one background loop opens, uses and reopens it.

    Callers add to a buffer and wake the loop.  If publishing fails, the buffer is dropped.
    """

    #: Whether the broker confirms each message (publisher confirms).
    confirms = True

    def __init__(self, urls: Sequence[str], *, name: str) -> None:
        self._urls = urls
        self._name = name
        self._unavailable = False
        self._closing = False
        #: What is published next, each item once.
        self._buffer: dict[T, None] = {}
        self._wake = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        self._closing = True
        self._wake.set()
        if self.ready:
            # Cancelling the loop in the middle of a batch would close the channel while messages
            # are being published.
            await asyncio.wait([self._running], timeout=CLOSE_TIMEOUT_S)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._disconnect()

    @property
    def ready(self) -> bool:
        return (
            self._channel is not None
            and not self._channel.is_closed
            and self._connection is not None
            and self._connection.connected.is_set()
        )

    @abstractmethod
    async def _declare(self, channel: AbstractChannel) -> None:
        """Declare the queues and exchanges that this connection needs."""

    @abstractmethod
    async def _publish_items(self, items: list[T]) -> None:
        """Publish what was buffered."""

    def _add(self, items: Iterable[T]) -> None:
        # Items are buffered before the first connection too: a process that has just started will
        # soon have one.
        if not self._unavailable:
            self._buffer.update(dict.fromkeys(islice(items, BUFFER_SIZE - len(self._buffer))))
            self._wake.set()

    async def _publish_buffer(self) -> None:
        items, self._buffer = self._buffer, {}
        if items:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._publish_items(list(items))

    async def _run(self) -> None:
        while True:
            try:
                if not self.ready:
                    await self._connect()
                    log.info("connected to the broker")
                    self._unavailable = False
                await self._wait()
                await self._publish_buffer()
                if self._closing:
                    await self._publish_buffer()  # What was added meanwhile.
                    return
                await asyncio.sleep(BATCH_WINDOW_S)
            except Exception as error:  # The loop must survive every error.
                if not self._unavailable:
                    log.warning("broker unavailable: %s", type(error).__name__)
                self._unavailable = True
                self._buffer.clear()
                await self._disconnect()
                await asyncio.sleep(RECONNECT_DELAY_S)

    async def _wait(self) -> None:
        # The timeout makes the loop check the connection regularly, so that one that broke while
        # idle is reopened.
        try:
            async with asyncio.timeout(RECONNECT_DELAY_S):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _connect(self) -> None:
        failure: Exception | None = None
        for url in self._urls:
            await self._disconnect()  # Close the broken connection or the last failed attempt.
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    # Not `aio_pika.connect`: when it fails it returns no object to close, and the
                    # garbage collector would close the rest later, in any thread.
                    self._connection = aio_pika.Connection(
                        make_url(url, heartbeat=HEARTBEAT_S),
                        client_properties={"connection_name": self._name},
                    )
                    await self._connection.connect()
                    # Without `on_return_raises` an unroutable message looks like a success.
                    self._channel = await self._connection.channel(
                        publisher_confirms=self.confirms, on_return_raises=self.confirms
                    )
                    await self._declare(self._channel)
                return
            except (AMQPException, OSError, TimeoutError) as error:
                failure = error
        raise ConnectionError("the broker does not answer") from failure

    async def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and not connection.is_closed:
            try:
                async with asyncio.timeout(1):
                    await connection.close()
            except (AMQPException, OSError, TimeoutError, RuntimeError) as error:
                log.debug("while closing the connection: %r", error)
            finally:
                # aio-pika treats a connection whose close timed out as open.  A second close marks
                # it as closed and does not wait.
                await connection.close()


class RabbitPublisher(_Connection[TaskRef]):
    """Publishes to RabbitMQ: persistent, mandatory and with publisher confirms.

    One loop connects, buffers tasks and publishes them in batches: the first task is published at
    once, those that follow within `BATCH_WINDOW_S` together.
    """

    def __init__(self, urls: Sequence[str], *, queue_type: str, name: str) -> None:
        super().__init__(urls, name=name)
        self._queue_type = queue_type
        self._depths_task: asyncio.Task[list[QueueDepth] | None] | None = None

    def publish(self, tasks: Sequence[TaskRef]) -> None:
        self._add(tasks)

    async def _publish_items(self, items: list[TaskRef]) -> None:
        await asyncio.gather(*(self._publish(message) for message in to_messages(items)))
        failpoint("R4")

    async def _publish(self, message: dramatiq.Message[Any]) -> None:
        assert self._channel is not None
        failpoint("R3")
        body, mode = message.encode(), DeliveryMode.PERSISTENT
        sent = aio_pika.Message(body, delivery_mode=mode, message_id=message.message_id)
        exchange = self._channel.default_exchange
        await exchange.publish(sent, routing_key=message.queue_name, mandatory=True)

    async def depths(self) -> list[QueueDepth]:
        if self._connection is None or not self.ready:
            raise ConnectionError("the broker does not answer")
        if self._depths_task is None or self._depths_task.done():
            self._depths_task = asyncio.create_task(self._read_depths(self._connection))
        reading = self._depths_task
        # A request's deadline must not cancel this task: a cancelled call closes the connection,
        # which breaks what is being published.
        await asyncio.wait([reading], timeout=DEPTHS_TIMEOUT_S)
        found = reading.result() if reading.done() and not reading.cancelled() else None
        if found is None:
            raise ConnectionError("the broker does not answer")
        return found

    async def _read_depths(self, connection: AbstractConnection) -> list[QueueDepth] | None:
        """The queues and their lengths; None when the connection broke meanwhile."""
        found = []
        try:
            channel = await connection.channel(publisher_confirms=False)
            for queue in dict.fromkeys(QUEUES.values()):
                for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
                    try:
                        declared = await channel.declare_queue(name, passive=True)
                    except ChannelNotFoundEntity:
                        # RabbitMQ closes the channel when the queue does not exist.
                        channel = await connection.channel(publisher_confirms=False)
                    else:
                        counts = declared.declaration_result
                        ready, consumers = counts.message_count or 0, counts.consumer_count or 0
                        found.append(QueueDepth(name, ready, consumers))
            await channel.close()
        except (AMQPException, OSError, TimeoutError, RuntimeError) as error:
            log.debug("while reading the queues: %r", error)
            return None
        return found

    async def waiting(self) -> dict[str, int]:
        if self._channel is None:
            raise ConnectionError("the broker does not answer")
        async with asyncio.timeout(PUBLISH_TIMEOUT_S):
            return await self._queues(self._channel)

    async def _declare(self, channel: AbstractChannel) -> None:
        await self._queues(channel)

    async def _queues(self, channel: AbstractChannel) -> dict[str, int]:
        """Declare the queues like dramatiq does, so that tasks can be published before the first
        worker starts; how many messages wait in each."""
        waiting = {}
        for queue in QUEUES.values():
            arguments = queue_arguments(self._queue_type, queue)
            declared = await channel.declare_queue(queue, durable=True, arguments=arguments)
            waiting[queue] = declared.declaration_result.message_count or 0
        return waiting


class EventBus(_Connection[int]):
    """Broadcasts the ids of changed orders to all web processes, and receives what others publish.

    Each message is a list of ids without data.  It is neither persistent nor confirmed: the streams
    of the web processes also poll, and notice a lost message within a second.
    """

    confirms = False

    def __init__(
        self,
        urls: Sequence[str],
        *,
        name: str,
        on_change: Callable[[Collection[int]], None] | None = None,
    ) -> None:
        """`on_change` gets the ids that any process publishes, on this event loop."""
        super().__init__(urls, name=name)
        self._on_change = on_change
        self._exchange: AbstractExchange | None = None

    def notify(self, order_ids: Collection[int]) -> None:
        """Publish soon that these orders changed; neither blocks nor raises."""
        self._add(order_ids)

    async def _declare(self, channel: AbstractChannel) -> None:
        self._exchange = await channel.declare_exchange(EXCHANGE, ExchangeType.TOPIC, durable=True)
        if self._on_change is None:
            return
        # The queue belongs to this process and is deleted with its connection.  A process that
        # cannot keep up loses the oldest messages.
        queue = await channel.declare_queue(
            exclusive=True, auto_delete=True, arguments={"x-max-length": BUFFER_SIZE}
        )
        await queue.bind(self._exchange, routing_key=ORDERS_CHANGED)
        await queue.consume(self._receive, no_ack=True)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        assert self._on_change is not None
        try:
            order_ids = json.loads(message.body)
        except ValueError:
            log.warning("event is not JSON, %d bytes", len(message.body))
            return
        if isinstance(order_ids, list):
            self._on_change([order_id for order_id in order_ids if isinstance(order_id, int)])

    async def _publish_items(self, items: list[int]) -> None:
        assert self._exchange is not None
        message = aio_pika.Message(json.dumps(items).encode(), content_type="application/json")
        await self._exchange.publish(message, routing_key=ORDERS_CHANGED, mandatory=False)
