"""Prometheus metrics of the processes on this host and of the whole store.

Each process has its own counters.  With `PROMETHEUS_MULTIPROC_DIR` set to the same directory for
all processes of a host, the counters are files there, and any process returns those of all.
The number and age of unfinished tasks come from the database, so every process returns the same
values and none is lost when a process ends.
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
from bookstore.notifications import EmailStatus
from bookstore.orders import State
from bookstore.tasks import heartbeats

CONTENT_TYPE = CONTENT_TYPE_LATEST
#: The environment variable with the directory that the processes of a host share.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"


#: The metrics of the actors in this process; in an embedded store this is the web process.
WORKER = CollectorRegistry()


def text(own: Iterable[CollectorRegistry], store: Iterable[Metric]) -> bytes:
    """The metrics of this process or of all on this host, and those of the store, as text."""
    registries = [*own, WORKER]
    if folder := os.environ.get(FOLDER):
        _mark_dead_processes(Path(folder))
        registries = [CollectorRegistry()]
        MultiProcessCollector(registries[0])
    combined = CollectorRegistry()
    collected = [metric for registry in registries for metric in registry.collect()]
    combined.register(_FixedMetrics([*collected, *store]))
    return generate_latest(combined)


async def store_totals(conn: AsyncConnection) -> list[Metric]:
    """The number of orders and of e-mails in each state.  Counts all rows of both tables."""
    in_state = GaugeMetricFamily("bookstore_orders", "Orders by status.", labels=["status"])
    for status, count in await _by_status(conn, orders.c.status, State):
        in_state.add_metric([status], count)
    emails = GaugeMetricFamily("bookstore_emails", "E-mails by status.", labels=["status"])
    for status, count in await _by_status(conn, notifications.c.status, EmailStatus):
        emails.add_metric([status], count)
    return [in_state, emails]


async def backlog(conn: AsyncConnection, *, now: datetime) -> list[Metric]:
    """Unfinished tasks and their age, the last heartbeat of a relay, and the version."""
    unfinished = GaugeMetricFamily(
        "bookstore_tasks", "Unfinished tasks by kind and state.", labels=["task", "state"]
    )
    age = GaugeMetricFamily(
        "bookstore_oldest_task_age_seconds",
        "Age of the oldest task that is not dead; 0 when there is none.",
        labels=["task"],
    )
    for queue in await reports.queues(conn):
        for state in ("waiting", "tried", "dead"):
            unfinished.add_metric([queue.task, state], getattr(queue, state))
        waited_s = (now - queue.oldest_at).total_seconds() if queue.oldest_at else 0.0
        age.add_metric([queue.task], waited_s)
    latest = await heartbeats.latest(conn)
    silence = GaugeMetricFamily(
        "bookstore_relay_heartbeat_age_seconds",
        "Time since the last heartbeat of a relay; NaN before the first.",
    )
    silence.add_metric([], (now - latest).total_seconds() if latest else float("nan"))
    build = InfoMetricFamily("bookstore_build", "The running version.", {"version": __version__})
    return [unfinished, age, silence, build]


async def _by_status(
    conn: AsyncConnection, column: Column[str], known: type[State] | type[EmailStatus]
) -> list[tuple[str, int]]:
    found = await conn.execute(
        select(column.label("status"), func.count().label("number")).group_by(column)
    )
    counts = {str(status): 0 for status in known}
    counts |= {row.status: row.number for row in found}
    return list(counts.items())


def _mark_dead_processes(folder: Path) -> None:
    """Remove the live gauges of ended processes; their counters stay."""
    for pid in {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}:
        if not Path("/proc", pid).exists():
            mark_process_dead(int(pid), str(folder))


class _FixedMetrics(Collector):
    """A collector of metrics with fixed values."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
