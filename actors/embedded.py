"""Workers inside the web process, for a store that runs in one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from dramatiq import Worker
from dramatiq.brokers.stub import StubBroker

from actors.broker import broker, workplace
from bookstore.tasks.publisher import LocalPublisher, Publisher
from config.settings import Settings

THREADS = 8
#: Milliseconds between two looks of an idle thread at whether it is to stop.
POLL = 100
#: In milliseconds: what is running may finish, the rest stays in the database.
STOP_TIMEOUT = 10_000


def _nobody_listens(order_ids: list[int]) -> None:
    """Nobody in this process watches orders."""


@asynccontextmanager
async def workers(
    settings: Settings, notify: Callable[[list[int]], object] = _nobody_listens
) -> AsyncIterator[Publisher]:
    """Start the workers; gives what offers tasks to them, and stops them at the end.

    `notify` gets the ids of the orders to which something happened, in the workers' thread.
    """
    workplace.settings = settings
    workplace.notify = notify
    worker = Worker(broker, worker_timeout=POLL, worker_threads=THREADS)
    if not workplace.booted:
        # Only dramatiq's own command line does this, and the time limits need it.
        broker.emit_after("process_boot")
    await asyncio.to_thread(worker.start)
    try:
        assert isinstance(broker, StubBroker)
        yield LocalPublisher(broker)
    finally:
        await asyncio.to_thread(worker.stop, STOP_TIMEOUT)
