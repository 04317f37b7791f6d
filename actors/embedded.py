"""Workers inside the web process, for a store that runs in one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dramatiq import Worker

from actors.broker import broker, workplace
from bookstore.messages import LocalPublisher, Publisher
from config.settings import Settings

THREADS = 8
#: Milliseconds between two looks of an idle thread at whether it is to stop.
POLL = 100
#: In milliseconds: what is running may finish, the rest stays in the database.
STOP_TIMEOUT = 10_000


@asynccontextmanager
async def workers(settings: Settings) -> AsyncIterator[Publisher]:
    """Start the workers; gives what offers tasks to them, and stops them at the end."""
    workplace.settings = settings
    worker = Worker(broker, worker_timeout=POLL, worker_threads=THREADS)
    if not workplace.booted:
        # Only dramatiq's own command line does this, and the time limits need it.
        broker.emit_after("process_boot")
    await asyncio.to_thread(worker.start)
    try:
        yield LocalPublisher(broker.enqueue)
    finally:
        await asyncio.to_thread(worker.stop, STOP_TIMEOUT)
