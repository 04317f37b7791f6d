"""The dramatiq broker with our safety fixes, made from the settings when actors are imported."""

from collections.abc import Iterator
from typing import Any

import dramatiq
from dramatiq import middleware
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer
from dramatiq.brokers.stub import StubBroker

from actors.metrics import MetricsMiddleware
from actors.workplace import Workplace
from bookstore.database.failpoints import failpoint
from bookstore.tasks.publisher import queue_arguments
from config.settings import Settings, read_settings

#: dramatiq counts in milliseconds.
SECOND = 1000
MINUTE = 60 * SECOND
#: The retries of every actor.  They have no limit, because the row of the task counts attempts.
RETRIES: dict[str, Any] = {
    "max_retries": None,
    "min_backoff": 1 * SECOND,
    "max_backoff": 1 * MINUTE,
}
#: A dead peer is detected after two missed heartbeats; without them it takes minutes.
HEARTBEAT_S = 10
#: A resource alarm at the broker blocks publishers, not consumers.
BLOCKED_TIMEOUT_S = 10


class Consumer(_RabbitmqConsumer):
    """Acknowledges only messages that it delivered itself.

    Delivery tags start at 1 again on each connection.  So a message that was delivered before a
    reconnect and finished after it would acknowledge an unrelated message, which is lost if the
    worker then dies.  RabbitMQ has already redelivered the finished one.
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
    """RabbitMQ with our consumer, and with the same queue arguments as the publishers."""

    def __init__(self, *, queue_type: str, **options: Any) -> None:
        super().__init__(confirm_delivery=True, **options)
        self._queue_type = queue_type

    @property
    def consumer_class(self) -> type[Consumer]:
        return Consumer

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return queue_arguments(self._queue_type, queue_name)


class SafeRetries(middleware.Retries):
    """Does not acknowledge a message whose retry could not be published.

    dramatiq ignores exceptions in a middleware, so the message would be lost.  This class fails the
    message instead, which sends it to the dead-letter queue.
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
    """RabbitMQ, or a broker in this process's memory; it connects at the first use."""
    ours = list(_middleware(workplace))
    if settings.embedded:
        return StubBroker(middleware=ours)
    return StoreBroker(
        queue_type=settings.queue_type,
        url=[_with_limits(url) for url in settings.broker_urls],
        middleware=ours,
    )


def _middleware(workplace: Workplace) -> Iterator[middleware.Middleware]:
    # The event loop starts first and stops last, because the workplace needs it.
    yield middleware.AsyncIO()
    yield workplace
    yield MetricsMiddleware()
    yield middleware.TimeLimit()
    yield middleware.ShutdownNotifications()
    yield middleware.Callbacks()
    yield middleware.CurrentMessage()
    yield SafeRetries()


def _with_limits(url: str) -> str:
    mark = "&" if "?" in url else "?"
    limits = f"heartbeat={HEARTBEAT_S}&blocked_connection_timeout={BLOCKED_TIMEOUT_S}"
    return f"{url}{mark}{limits}"


workplace = Workplace()
broker = make_broker(read_settings(), workplace)
dramatiq.set_broker(broker)


def message_id() -> str | None:
    """The id of the message that the current actor processes; None if it was called directly."""
    message = middleware.CurrentMessage.get_current_message()
    return message.message_id if message is not None else None
