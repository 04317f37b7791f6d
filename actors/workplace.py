"""What the actors of this process work with: opened on the worker's event loop, closed with it."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from dramatiq import Broker, Worker
from dramatiq.asyncio import get_event_loop_thread
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Middleware
from sqlalchemy.ext.asyncio import AsyncEngine

from actors import metrics
from actors.batching import Batches
from actors.relay import Relay
from actors.stopping import heed_signals
from bookstore import orders
from bookstore.backoffice import list_exports
from bookstore.backoffice.bulk_jobs import Changer
from bookstore.database import engine as db
from bookstore.exports import Exporter
from bookstore.imports.importer import Importer
from bookstore.notifications import DeliveryWorker, smtp
from bookstore.notifications.emails import Store
from bookstore.tasks.job_runner import Runner, Work
from bookstore.tasks.jobs import Kind
from bookstore.tasks.outbox import Task
from bookstore.tasks.publisher import (
    QUEUES,
    EventExchange,
    LocalPublisher,
    Publisher,
    RabbitPublisher,
)
from config import memory
from config.log import quieten, set_up
from config.settings import Settings, read_settings

log = logging.getLogger(__name__)

#: A list of fifty takes some hundredths of a second; a database that stalls, longer.
TIMEOUT_S = 10.0
LOCK_WAIT_S = 5
#: Transactions of one process that run at once; the others of its threads wait for mail.
POOL_SIZE = 16


class Workplace(Middleware):
    """The worker's database, mail and publisher, and the relay that runs beside the actors.

    dramatiq swallows what goes wrong while it boots a worker, so nothing here connects
    before it is used.
    """

    engine: AsyncEngine
    orders: Batches
    delivery_worker: DeliveryWorker
    #: Threads that may wait for mail at once.
    email_threads: asyncio.Semaphore
    jobs: Runner
    #: Jobs that run at once: they are much work for the processor, and orders come first.
    job_threads: asyncio.Semaphore

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.settings: Settings | None = None
        #: Who hears, in this process, to which orders something happened; else all web processes.
        self.notify: Callable[[list[int]], object] | None = None
        #: Whether dramatiq has said that this process is up, which it may hear only once.
        self.booted = False
        self._open = AsyncExitStack()

    def after_process_boot(self, broker: Broker) -> None:
        self.booted = True

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        if self.settings is None:
            set_up()  # dramatiq's own command line has lines of another form.
            heed_signals()
            memory.settle()
        else:
            quieten()
        # The process was forked since, so it has a name of its own.
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        _run(self._start(broker, worker, self.settings or read_settings()))

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        log.info("at work: %s", self.name)

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self.delivery_worker.stop()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        _run(self._open.aclose())

    async def _start(self, broker: Broker, worker: Worker, settings: Settings) -> None:
        publisher = await self._publisher(broker, settings)
        engine = db.make_engine(
            settings.database_url,
            pool_size=POOL_SIZE,
            timeout_s=TIMEOUT_S,
            lock_wait_s=LOCK_WAIT_S,
        )
        self._open.push_async_callback(engine.dispose)
        notify = self.notify or await self._exchange(settings)
        self.engine = db.notifying(db.announcing(engine, publisher.offer), notify)
        self.orders = Batches(
            self.engine, Task.PROCESS_ORDERS, orders.process, worker=self.name, clock=clock
        )
        mailer = smtp.make_mailer(settings.smtp_url)
        self._open.push_async_callback(mailer.close)
        self.delivery_worker = DeliveryWorker(
            self.engine, mailer, Store.of(settings), clock=clock, watch=metrics.mailed
        )
        self.email_threads = asyncio.Semaphore(email_threads(worker))
        currency = settings.currency
        exporter = Exporter(self.engine, currency=currency, clock=clock)
        works: dict[Kind, Work] = {
            Kind.IMPORT_BOOKS: Importer(self.engine, currency=currency, clock=clock),
            Kind.EXPORT_BOOKS: exporter,
            Kind.EXPORT_ORDERS: exporter,
            Kind.CHANGE_MANY: Changer(self.engine, clock=clock),
            Kind.EXPORT_LIST: Exporter(
                self.engine, currency=currency, clock=clock, source_of=list_exports.source_of
            ),
        }
        self.jobs = Runner(self.engine, works, clock=clock)
        self.job_threads = asyncio.Semaphore(1)
        relay = Relay(self.engine, publisher, name=f"relay:{self.name}", clock=clock)
        running = asyncio.create_task(relay.run(alone=settings.embedded))
        self._open.push_async_callback(_stop, running)

    async def _publisher(self, broker: Broker, settings: Settings) -> Publisher:
        if isinstance(broker, StubBroker):
            return LocalPublisher(broker)
        return await self._open.enter_async_context(
            RabbitPublisher(
                settings.broker_urls, queue_type=settings.queue_type, name=f"worker {self.name}"
            )
        )

    async def _exchange(self, settings: Settings) -> Callable[[list[int]], object]:
        exchange = EventExchange(settings.broker_urls, name=f"worker {self.name}")
        return (await self._open.enter_async_context(exchange)).notify


def email_threads(worker: Worker) -> int:
    """How many may wait for mail at once: half of them, so that there are always some for orders;
    all where there is no other work."""
    if worker.consumer_whitelist == {QUEUES[Task.SEND_NOTIFICATIONS]}:
        return worker.worker_threads
    return max(1, worker.worker_threads // 2)


def clock() -> datetime:
    return datetime.now(UTC)


def _run(work: Coroutine[Any, Any, None]) -> None:
    loop = get_event_loop_thread()
    assert loop is not None
    loop.run_coroutine(work)


async def _stop(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
