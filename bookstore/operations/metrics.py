"""What Prometheus reads, of the processes of a machine and of the store as a whole.

A process counts for itself.  With `PROMETHEUS_MULTIPROC_DIR` set, to the same folder for
all processes of a machine, their counts are files in it, and whichever process is asked
answers for all.  How much is unfinished, and how old it is, the database knows: whoever is
asked tells the same, and no count is lost with a process.
"""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from sqlalchemy import Column, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import __version__
from bookstore.backoffice import reports
from bookstore.database.tables import notifications, orders
from bookstore.notifications import Status
from bookstore.orders import State
from bookstore.tasks import heartbeats

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: Names the folder that the processes of a machine share.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"


#: Where the actors of this process count, and the web process for them when it is embedded.
WORKER = CollectorRegistry()


def text(own: Iterable[CollectorRegistry], store: Iterable[Metric]) -> bytes:
    """The metrics of this process, or of all on this machine, and those of the store."""
    registries = [*own, WORKER]
    if folder := os.environ.get(FOLDER):
        _bury_the_dead(Path(folder))
        registries = [CollectorRegistry()]
        MultiProcessCollector(registries[0])
    whole = CollectorRegistry()
    counted = [metric for registry in registries for metric in registry.collect()]
    whole.register(_Known([*counted, *store]))
    return generate_latest(whole)


async def of_past(conn: AsyncConnection) -> list[Metric]:
    """How many orders and letters there are in each state: all of them are counted."""
    in_state = GaugeMetricFamily(
        "bookstore_orders", "Orders, by the state that they are in.", labels=["status"]
    )
    for status, count in await _by_status(conn, orders.c.status, State):
        in_state.add_metric([status], count)
    written = GaugeMetricFamily(
        "bookstore_emails", "Letters, by what became of them.", labels=["status"]
    )
    for status, count in await _by_status(conn, notifications.c.status, Status):
        written.add_metric([status], count)
    return [in_state, written]


async def of_work(conn: AsyncConnection, *, now: datetime) -> list[Metric]:
    """What is unfinished and since when, and who works."""
    unfinished = GaugeMetricFamily(
        "bookstore_tasks", "Unfinished work, by kind and state.", labels=["task", "state"]
    )
    age = GaugeMetricFamily(
        "bookstore_oldest_task_age_seconds",
        "How long the oldest work that is not dead has been waiting; 0 when there is none.",
        labels=["task"],
    )
    for queue in await reports.queues(conn):
        for state in ("waiting", "tried", "dead"):
            unfinished.add_metric([queue.task, state], getattr(queue, state))
        waited_s = (now - queue.oldest_at).total_seconds() if queue.oldest_at else 0.0
        age.add_metric([queue.task], waited_s)
    latest = await heartbeats.latest(conn)
    silence = GaugeMetricFamily(
        "bookstore_relay_heartbeat_age_seconds", "Since a relay was last alive; NaN before that."
    )
    silence.add_metric([], (now - latest).total_seconds() if latest else float("nan"))
    build = InfoMetricFamily("bookstore_build", "What is running.", {"version": __version__})
    return [unfinished, age, silence, build]


async def _by_status(
    conn: AsyncConnection, column: Column[str], known: type[State] | type[Status]
) -> list[tuple[str, int]]:
    found = await conn.execute(
        select(column.label("status"), func.count().label("number")).group_by(column)
    )
    counts = {str(status): 0 for status in known}
    counts |= {row.status: row.number for row in found}
    return list(counts.items())


def _bury_the_dead(folder: Path) -> None:
    """What processes that are gone were doing at their end is over; what they counted stays."""
    for pid in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}:
        if not Path("/proc", pid).exists():
            mark_process_dead(int(pid), str(folder))


class _Known(Collector):
    """Metrics that are known already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
