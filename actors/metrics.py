"""Prometheus metrics of the workers: messages, their sizes, attempts to send e-mails."""

import time
from typing import Any

from dramatiq import Broker, MessageProxy
from dramatiq.middleware import Middleware
from prometheus_client import Counter, Histogram

from bookstore.notifications import DeliveryOutcome
from bookstore.operations.metrics import WORKER

#: From one order on an idle system to the deadline of an actor.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


_MESSAGES = Counter(
    "bookstore_actor_messages",
    "Processed messages, by actor and result.",
    ["actor", "result"],
    registry=WORKER,
)
_DURATIONS = Histogram(
    "bookstore_actor_duration_seconds",
    "Processing time of a message.",
    ["actor"],
    buckets=_SECONDS,
    registry=WORKER,
)
_MESSAGE_ROWS = Histogram(
    "bookstore_actor_list_ids",
    "Rows in one message.",
    ["actor"],
    buckets=(1, 2, 5, 10, 20, 50),
    registry=WORKER,
)
_EMAIL_ATTEMPTS = Counter(
    "bookstore_email_attempts",
    "Attempts to send an e-mail, by result.",
    ["result"],
    registry=WORKER,
)


class MetricsMiddleware(Middleware):
    """Counts messages by actor and result, and measures their duration and number of rows."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        self._started[message.message_id] = time.perf_counter()

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        started = self._started.pop(message.message_id, None)
        if started is None:
            return
        name = message.actor_name
        _MESSAGES.labels(name, "failed" if exception else "done").inc()
        _DURATIONS.labels(name).observe(time.perf_counter() - started)
        if message.args and isinstance(message.args[0], list):
            _MESSAGE_ROWS.labels(name).observe(len(message.args[0]))


def count_email_attempt(outcome: DeliveryOutcome) -> None:
    """Count an attempt to send an e-mail."""
    _EMAIL_ATTEMPTS.labels(outcome.name.lower().replace("_", "-")).inc()
