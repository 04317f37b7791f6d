"""The broker, with its safety fixes; made from the settings when the actors are imported."""

from collections.abc import Iterator
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import (
    AsyncIO,
    Callbacks,
    CurrentMessage,
    Middleware,
    Retries,
    ShutdownNotifications,
    TimeLimit,
)

from actors.metrics import Measured
from actors.workplace import Workplace
from bookstore.database.failpoints import failpoint
from bookstore.tasks.publisher import queue_arguments
from config.settings import Settings, read_settings

#: dramatiq counts in milliseconds.
SECOND = 1000
MINUTE = 60 * SECOND
#: Noticed after two missed ones; a dead peer would otherwise go unnoticed for minutes.
HEARTBEAT_S = 10
#: An alarm at the broker blocks those who publish, not those who consume.
BLOCKED_TIMEOUT_S = 10


class Consumer(_RabbitmqConsumer):
    """Acknowledges only what it delivered itself.

    Delivery tags start at 1 again on each connection, so a message taken before a
    reconnect and finished after it would acknowledge a stranger, which is lost if the
    worker then dies.  RabbitMQ has delivered the stale one again already.
    """

    def __next__(self) -> Any:
        message = super().__next__()
        if message is not None:
            message._consumer = self
        return message

    def ack(self, message: Any) -> None:
        if message._consumer is self:
            super().ack(message)
            failpoint("P8")

    def nack(self, message: Any) -> None:
        if message._consumer is self:
            super().nack(message)


class StoreBroker(RabbitmqBroker):
    """RabbitMQ with our consumer and with queues as the publishers declare them."""

    def __init__(self, *, queue_type: str, **options: Any) -> None:
        super().__init__(confirm_delivery=True, **options)
        self._queue_type = queue_type

    @property
    def consumer_class(self) -> type[Consumer]:
        return Consumer

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return queue_arguments(self._queue_type, queue_name)


class SafeRetries(Retries):
    """Does not acknowledge a message whose retry could not be published.

    dramatiq swallows what goes wrong in a middleware, and the message would be gone; so it
    is failed instead, and goes to the dead letters.
    """

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: Any = None
    ) -> None:
        try:
            super().after_process_message(broker, message, result=result, exception=exception)
        except BaseException:
            message.fail()
            raise


def make_broker(settings: Settings, workplace: Workplace) -> dramatiq.Broker:
    """RabbitMQ, or messages in this process's memory; it connects when used."""
    middleware = list(_middleware(workplace))
    if settings.embedded:
        return StubBroker(middleware=middleware)
    return StoreBroker(
        queue_type=settings.queue_type,
        url=[_with_limits(url) for url in settings.broker_urls],
        middleware=middleware,
    )


def _middleware(workplace: Workplace) -> Iterator[Middleware]:
    # The event loop starts first and stops last: the workplace lives on it.
    yield AsyncIO()
    yield workplace
    yield Measured()
    yield TimeLimit()
    yield ShutdownNotifications()
    yield Callbacks()
    yield CurrentMessage()
    yield SafeRetries()


def _with_limits(url: str) -> str:
    mark = "&" if "?" in url else "?"
    limits = f"heartbeat={HEARTBEAT_S}&blocked_connection_timeout={BLOCKED_TIMEOUT_S}"
    return f"{url}{mark}{limits}"


workplace = Workplace()
broker = make_broker(read_settings(), workplace)
dramatiq.set_broker(broker)


def message_id() -> str | None:
    """The id of the message that the current actor works on; None when it is called directly."""
    message = CurrentMessage.get_current_message()
    return message.message_id if message is not None else None
