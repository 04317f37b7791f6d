"""Tasks on their way to the actors, and news on its way to those who watch: wire format, queues,
publishing.

A message is a hint, so publishing may fail: the relay offers again whatever was lost.
"""

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol, Self

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
from bookstore.tasks.outbox import Offer, Task

log = logging.getLogger(__name__)

#: Where each kind of work waits.  Mail has a queue of its own, so that it never slows orders.
QUEUES = {
    Task.PROCESS_ORDERS: "orders",
    Task.SEND_NOTIFICATIONS: "notifications",
    Task.RUN_JOBS: "bulk",
}
#: Where is told what happened, for whoever wants to know; and what it is called there.
EXCHANGE, ORDERS_CHANGED = "bookstore.events", "orders.changed"
#: Ids in one message: above 50 nothing is gained, below 20 much is lost.
LIST = 50
#: A job takes so long that each has a message of its own.
ALONE = frozenset({Task.RUN_JOBS})
#: Confirms come too quickly to gather anything while one waits for them.
ROUND_S = 0.01
#: What a process keeps for a broker that is away; the rest is the relay's.
BUFFER = 1000
CONNECT_TIMEOUT_S = 3.0
PUBLISH_TIMEOUT_S = 5.0
#: Staff who look at the queues wait no longer for what the broker says.
ASK_TIMEOUT_S = 1.0
RECONNECT_S = 1.0
#: What is offered last is published within this, or left to the relay.
CLOSE_S = 2.0
HEARTBEAT_S = 10


@dataclass(frozen=True, slots=True)
class Depth:
    """What the broker says of a queue: messages that wait, and who takes them."""

    queue: str
    ready: int
    consumers: int


class Publisher(Protocol):
    """Offers tasks to their actors."""

    def offer(self, offers: Sequence[Offer]) -> None:
        """Publish soon, from the event loop or any thread; neither blocks nor raises."""

    @property
    def ready(self) -> bool:
        """Whether what is offered now would get through."""

    async def waiting(self) -> Mapping[str, int]:
        """How many messages nobody has taken yet, by queue.

        Raises:
            AMQPException, OSError, TimeoutError: the broker does not say.
        """

    async def depths(self) -> list[Depth]:
        """How full the broker's queues are; none where there is no broker.

        Raises:
            ConnectionError: it does not answer.
        """


def queue_arguments(queue_type: str, queue: str) -> dict[str, Any]:
    """How a queue is declared; everybody who declares it has to say the same.

    dramatiq's own arguments (2.2), and a quorum queue's type where it is wanted.
    """
    arguments: dict[str, Any] = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": f"{queue}.XQ",
    }
    return arguments | ({"x-queue-type": "quorum"} if queue_type == "quorum" else {})


def in_lists(offers: Sequence[Offer]) -> Iterator[dramatiq.Message[Any]]:
    """The messages for these offers: for each kind of work one for `LIST` ids or fewer."""
    ordered = sorted(set(offers))
    for task, group in groupby(ordered, attrgetter("task")):
        ids = [offer.ref_id for offer in group]
        length = 1 if task in ALONE else LIST
        for start in range(0, len(ids), length):
            yield dramatiq.Message(
                queue_name=QUEUES[task],
                actor_name=task,
                args=(ids[start : start + length],),
                kwargs={},
                options={},
            )


class LocalPublisher:
    """Hands messages to the workers in this process."""

    ready = True

    def __init__(self, broker: StubBroker) -> None:
        self._broker = broker

    def offer(self, offers: Sequence[Offer]) -> None:
        for message in in_lists(offers):
            self._broker.enqueue(message)

    async def waiting(self) -> dict[str, int]:
        return {queue: self._broker.queues[queue].qsize() for queue in QUEUES.values()}

    async def depths(self) -> list[Depth]:
        return []


class _Link(ABC):
    """A connection to RabbitMQ that one loop opens, uses and opens again.

    Whoever uses it fills a buffer and wakes the loop; what a broker does not take is dropped.
    """

    #: Whether the broker says that it has what was published.
    confirms = True

    def __init__(self, urls: Sequence[str], *, name: str) -> None:
        self._urls = urls
        self._name = name
        self._away = False
        self._closing = False
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
            # To cancel it amid a round would close the channel under what is on its way.
            await asyncio.wait([self._running], timeout=CLOSE_S)
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
        """Make sure that the broker has what this link needs."""

    @abstractmethod
    async def _publish_buffer(self) -> None:
        """Send what waits."""

    @abstractmethod
    def _drop_buffer(self) -> None:
        """Give up what waits."""

    async def _run(self) -> None:
        while True:
            try:
                if not self.ready:
                    await self._connect()
                    log.info("broker there")
                    self._away = False
                await self._wait()
                await self._publish_buffer()
                if self._closing:
                    await self._publish_buffer()  # What was offered meanwhile.
                    return
                await asyncio.sleep(ROUND_S)
            except Exception as error:  # Whatever it was, the loop must go on.
                if not self._away:
                    log.warning("broker away: %s", type(error).__name__)
                self._away = True
                self._drop_buffer()
                await self._disconnect()
                await asyncio.sleep(RECONNECT_S)

    async def _wait(self) -> None:
        # Looks up now and then, so that a connection that died at rest is opened again.
        try:
            async with asyncio.timeout(RECONNECT_S):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _connect(self) -> None:
        failure: Exception | None = None
        for url in self._urls:
            await self._disconnect()  # From what broke or failed.
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    # Not `aio_pika.connect`: of a connection that fails it gives us nothing to
                    # close, and what is left open the garbage collector closes, in any thread.
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
        raise ConnectionError("no broker answers") from failure

    async def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and not connection.is_closed:
            try:
                async with asyncio.timeout(1):
                    await connection.close()
            except (AMQPException, OSError, TimeoutError, RuntimeError) as error:
                log.debug("while closing the connection: %r", error)
            finally:
                # aio-pika takes one that was not closed in time for open; this has no wait in it.
                await connection.close()


class RabbitPublisher(_Link):
    """Publishes to RabbitMQ, persistent, mandatory and with confirms.

    One loop connects, gathers what is offered and publishes it in rounds: the first offer
    leaves at once, what comes within `ROUND_S` goes together.
    """

    def __init__(self, urls: Sequence[str], *, queue_type: str, name: str) -> None:
        super().__init__(urls, name=name)
        self._queue_type = queue_type
        self._buffer: list[Offer] = []
        self._look: asyncio.Task[list[Depth] | None] | None = None

    def offer(self, offers: Sequence[Offer]) -> None:
        # Before the first connection too: a process that has just started will have one.
        if not self._away:
            self._buffer.extend(offers[: BUFFER - len(self._buffer)])
            self._wake.set()

    async def _publish_buffer(self) -> None:
        offers, self._buffer = self._buffer, []
        if offers:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await asyncio.gather(*(self._publish(message) for message in in_lists(offers)))
            failpoint("R4")

    def _drop_buffer(self) -> None:
        self._buffer.clear()

    async def _publish(self, message: dramatiq.Message[Any]) -> None:
        assert self._channel is not None
        failpoint("R3")
        await self._channel.default_exchange.publish(
            aio_pika.Message(
                message.encode(),
                delivery_mode=DeliveryMode.PERSISTENT,
                message_id=message.message_id,
            ),
            routing_key=message.queue_name,
            mandatory=True,
        )

    async def depths(self) -> list[Depth]:
        if self._connection is None or not self.ready:
            raise ConnectionError("no broker answers")
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_at_queues(self._connection))
        look = self._look
        # No request's deadline ends it: a call that is cut off closes the connection, and with it
        # what is being published.
        await asyncio.wait([look], timeout=ASK_TIMEOUT_S)
        found = look.result() if look.done() and not look.cancelled() else None
        if found is None:
            raise ConnectionError("no broker answers")
        return found

    async def _look_at_queues(self, connection: AbstractConnection) -> list[Depth] | None:
        """How full the queues are; None when the broker went away meanwhile."""
        found = []
        try:
            channel = await connection.channel(publisher_confirms=False)
            for queue in dict.fromkeys(QUEUES.values()):
                for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
                    try:
                        said = (await channel.declare_queue(name, passive=True)).declaration_result
                    except ChannelNotFoundEntity:
                        # A queue that is not there closes the channel on which it is asked about.
                        channel = await connection.channel(publisher_confirms=False)
                    else:
                        found.append(Depth(name, said.message_count or 0, said.consumer_count or 0))
            await channel.close()
        except (AMQPException, OSError, TimeoutError, RuntimeError) as error:
            log.debug("while looking at the queues: %r", error)
            return None
        return found

    async def waiting(self) -> dict[str, int]:
        if self._channel is None:
            raise ConnectionError("no broker answers")
        async with asyncio.timeout(PUBLISH_TIMEOUT_S):
            return await self._queues(self._channel)

    async def _declare(self, channel: AbstractChannel) -> None:
        await self._queues(channel)

    async def _queues(self, channel: AbstractChannel) -> dict[str, int]:
        """Make the queues as dramatiq wants them, so that work can wait before any worker comes;
        how many messages wait in each."""
        waiting = {}
        for queue in QUEUES.values():
            arguments = queue_arguments(self._queue_type, queue)
            declared = await channel.declare_queue(queue, durable=True, arguments=arguments)
            waiting[queue] = declared.declaration_result.message_count or 0
        return waiting


class EventExchange(_Link):
    """Says to every web process which orders something happened to, and hears what others say.

    Each message is a list of ids, no more than a hint: it is neither kept nor confirmed, and
    whoever watches an order finds a lost one out within a second.
    """

    confirms = False

    def __init__(
        self,
        urls: Sequence[str],
        *,
        name: str,
        heard: Callable[[Collection[int]], None] | None = None,
    ) -> None:
        """`heard` gets the ids of what is told anywhere, on this event loop."""
        super().__init__(urls, name=name)
        self._heard = heard
        self._buffer: dict[int, None] = {}
        self._exchange: AbstractExchange | None = None

    def notify(self, order_ids: Collection[int]) -> None:
        """Say soon that something happened to these orders; neither blocks nor raises."""
        if not self._away and len(self._buffer) < BUFFER:
            self._buffer.update(dict.fromkeys(order_ids))
            self._wake.set()

    async def _declare(self, channel: AbstractChannel) -> None:
        self._exchange = await channel.declare_exchange(EXCHANGE, ExchangeType.TOPIC, durable=True)
        if self._heard is None:
            return
        # Of this process alone, gone with its connection; who does not keep up loses the oldest.
        queue = await channel.declare_queue(
            exclusive=True, auto_delete=True, arguments={"x-max-length": BUFFER}
        )
        await queue.bind(self._exchange, routing_key=ORDERS_CHANGED)
        await queue.consume(self._hear, no_ack=True)

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        assert self._heard is not None
        try:
            order_ids = json.loads(message.body)
        except ValueError:
            log.warning("event that is no JSON, of %d bytes", len(message.body))
            return
        if isinstance(order_ids, list):
            self._heard([order_id for order_id in order_ids if isinstance(order_id, int)])

    async def _publish_buffer(self) -> None:
        order_ids, self._buffer = list(self._buffer), {}
        if order_ids:
            assert self._exchange is not None
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._exchange.publish(
                    aio_pika.Message(
                        json.dumps(order_ids).encode(), content_type="application/json"
                    ),
                    routing_key=ORDERS_CHANGED,
                    mandatory=False,
                )

    def _drop_buffer(self) -> None:
        self._buffer.clear()
