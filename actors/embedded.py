"""Workers inside the web process, for a store that runs in a single process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from actors.broker import broker, workplace
from bookstore.tasks.publisher import LocalPublisher, Publisher
from config.settings import Settings

THREADS = 8
#: An idle thread checks this often whether it should stop, in milliseconds.
POLL = 100
#: Running actors may finish within this many milliseconds; other tasks stay in the database.
STOP_TIMEOUT = 10_000


def _ignore_changes(order_ids: list[int]) -> None:
    """No stream in this process watches orders."""


@asynccontextmanager
async def workers(
    settings: Settings, notify: Callable[[list[int]], object] = _ignore_changes
) -> AsyncIterator[Publisher]:
    """Run the workers; yields the publisher of their tasks, and stops them at the end.

    `notify` is called with the ids of changed orders, in the workers' thread.
    """
    workplace.settings = settings
    workplace.notify = notify
    worker = Worker(broker, worker_timeout=POLL, worker_threads=THREADS)
    if not workplace.booted:
        # The time limits need this event, which only dramatiq's own command line emits.
        broker.emit_after("process_boot")
    await asyncio.to_thread(worker.start)
    try:
        assert isinstance(broker, StubBroker)
        yield LocalPublisher(broker)
    finally:
        await asyncio.to_thread(worker.stop, STOP_TIMEOUT)
