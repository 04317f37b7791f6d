"""What Prometheus reads of the workers: messages, their lists, letters."""

import time
from typing import Any

from dramatiq import Broker, MessageProxy
from dramatiq.middleware import Middleware
from prometheus_client import Counter, Histogram

from bookstore.notifications import End
from bookstore.operations.metrics import WORKER

#: From an order at rest to the deadline of an actor.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


_MESSAGES = Counter(
    "bookstore_actor_messages",
    "Messages that were worked on, by actor and result.",
    ["actor", "result"],
    registry=WORKER,
)
_DURATIONS = Histogram(
    "bookstore_actor_duration_seconds",
    "How long a message took.",
    ["actor"],
    buckets=_SECONDS,
    registry=WORKER,
)
_LISTS = Histogram(
    "bookstore_actor_list_ids",
    "Rows that one message asks for.",
    ["actor"],
    buckets=(1, 2, 5, 10, 20, 50),
    registry=WORKER,
)
_MAILS = Counter(
    "bookstore_email_attempts",
    "Attempts to send a letter, by what came of them.",
    ["result"],
    registry=WORKER,
)


class Measured(Middleware):
    """Counts messages by actor and result, how long they took and how much they asked for."""

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
            _LISTS.labels(name).observe(len(message.args[0]))


def mailed(end: End) -> None:
    """Count an attempt to send a letter."""
    _MAILS.labels(end.name.lower().replace("_", "-")).inc()
