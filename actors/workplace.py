"""Resources of the actors of this process, opened and closed on the worker's event loop."""

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
from actors.batching import BatchProcessor
from actors.relay import Relay
from actors.stopping import install_signal_handler
from bookstore import orders
from bookstore.backoffice import list_exports
from bookstore.backoffice.bulk_jobs import BulkChangeRunner
from bookstore.database import engine as db
from bookstore.exports import Exporter
from bookstore.imports.importer import Importer
from bookstore.notifications import DeliveryWorker, smtp
from bookstore.notifications.emails import StoreFacts
from bookstore.regional import shop_time
from bookstore.tasks.job_runner import JobHandler, JobRunner
from bookstore.tasks.jobs import JobKind
from bookstore.tasks.outbox import Task
from bookstore.tasks.publisher import QUEUES, EventBus, LocalPublisher, Publisher, RabbitPublisher
from config import memory, private_files
from config.log import set_up, silence_libraries
from config.settings import Settings, read_settings

log = logging.getLogger(__name__)

#: Fifty orders take a few hundredths of a second; only a database that stalls takes this long.
TIMEOUT_S = 10.0
LOCK_WAIT_S = 5


class Workplace(Middleware):
    """The worker's database, mailer and publisher, and the relay that runs beside the actors.

    dramatiq ignores errors while it boots a worker, so nothing here connects before its first use.
    """

    engine: AsyncEngine
    orders: BatchProcessor
    delivery_worker: DeliveryWorker
    #: Limits the threads that may wait for the mail server at the same time.
    email_threads: asyncio.Semaphore
    jobs: JobRunner
    #: Limits concurrent jobs: they need much CPU time, and orders have priority.
    job_threads: asyncio.Semaphore

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.settings: Settings | None = None
        #: Called with the ids of changed orders; None publishes them to all web processes.
        self.notify: Callable[[list[int]], object] | None = None
        #: Whether dramatiq has emitted `process_boot`, which must happen only once.
        self.booted = False
        self._open = AsyncExitStack()

    def after_process_boot(self, broker: Broker) -> None:
        self.booted = True

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        if self.settings is None:
            set_up()  # Replaces the log format of dramatiq's command line.
            install_signal_handler()
            private_files.create_private()
            memory.freeze_startup_objects()
        else:
            silence_libraries()
        # The process was forked after the import, so its id has changed.
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        _run(self._start(broker, worker, self.settings or read_settings()))

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        log.info("worker started: %s", self.name)

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self.delivery_worker.stop()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        _run(self._open.aclose())

    async def _start(self, broker: Broker, worker: Worker, settings: Settings) -> None:
        shop_time.set_zone(settings.time_zone)
        publisher = await self._publisher(broker, settings)
        engine = db.make_engine(
            settings.database_url,
            connections=settings.worker_connections,
            timeout_s=TIMEOUT_S,
            lock_wait_s=LOCK_WAIT_S,
        )
        self._open.push_async_callback(engine.dispose)
        notify = self.notify or await self._event_bus(settings)
        self.engine = db.notifying(db.announcing(engine, publisher.publish), notify)
        self.orders = BatchProcessor(
            self.engine, Task.PROCESS_ORDERS, orders.process, worker=self.name, clock=clock
        )
        mailer = smtp.make_mailer(settings.smtp_url)
        self._open.push_async_callback(mailer.close)
        self.delivery_worker = DeliveryWorker(
            self.engine,
            mailer,
            StoreFacts.of(settings),
            clock=clock,
            on_attempt=metrics.count_email_attempt,
        )
        self.email_threads = asyncio.Semaphore(email_threads(worker))
        currency = settings.currency
        exporter = Exporter(self.engine, currency=currency, clock=clock)
        handlers: dict[JobKind, JobHandler] = {
            JobKind.IMPORT_BOOKS: Importer(
                self.engine, currency=currency, country=settings.country, clock=clock
            ),
            JobKind.EXPORT_BOOKS: exporter,
            JobKind.EXPORT_ORDERS: exporter,
            JobKind.CHANGE_MANY: BulkChangeRunner(self.engine, clock=clock),
            JobKind.EXPORT_LIST: Exporter(
                self.engine, currency=currency, clock=clock, source_of=list_exports.source_of
            ),
        }
        self.jobs = JobRunner(self.engine, handlers, clock=clock)
        self.job_threads = asyncio.Semaphore(1)
        relay = Relay(self.engine, publisher, name=f"relay:{self.name}", clock=clock)
        running = asyncio.create_task(relay.run(only_process=settings.embedded))
        self._open.push_async_callback(_stop, running)

    async def _publisher(self, broker: Broker, settings: Settings) -> Publisher:
        if isinstance(broker, StubBroker):
            return LocalPublisher(broker)
        urls, queue_type = settings.broker_urls, settings.queue_type
        publisher = RabbitPublisher(urls, queue_type=queue_type, name=f"worker {self.name}")
        return await self._open.enter_async_context(publisher)

    async def _event_bus(self, settings: Settings) -> Callable[[list[int]], object]:
        bus = EventBus(settings.broker_urls, name=f"worker {self.name}")
        return (await self._open.enter_async_context(bus)).notify


def email_threads(worker: Worker) -> int:
    """How many threads may wait for the mail server at the same time.

    Half of them, so that orders always find a free thread; all of them in a worker that only sends
    e-mails.
    """
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
