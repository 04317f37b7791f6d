"""Prometheus metrics about the whole store."""

from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from bookstore.operations import metrics
from bookstore.tasks import heartbeats, outbox
from bookstore.tasks.outbox import Task
from tests.factories import add_order

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def read(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def store_metrics(conn, now=NOON):
    found = [*await metrics.store_totals(conn), *await metrics.backlog(conn, now=now)]
    return read(metrics.text([], found))


async def test_an_idle_store_has_no_unfinished_tasks(conn):
    found = await store_metrics(conn)

    assert found["bookstore_orders", "placed"] == 0
    assert found["bookstore_tasks", "waiting", "process_orders"] == 0
    assert found["bookstore_oldest_task_age_seconds", "process_orders"] == 0
    assert str(found["bookstore_relay_heartbeat_age_seconds",]) == "nan"


async def test_unfinished_tasks_are_counted_with_their_age(conn):
    await outbox.add(conn, Task.PROCESS_ORDERS, [7, 8], now=NOON)
    await heartbeats.beat(conn, "relay:one", now=NOON)

    found = await store_metrics(conn, NOON + timedelta(seconds=90))

    assert found["bookstore_tasks", "waiting", "process_orders"] == 2
    assert found["bookstore_tasks", "dead", "process_orders"] == 0
    assert found["bookstore_oldest_task_age_seconds", "process_orders"] == 90
    assert found["bookstore_relay_heartbeat_age_seconds",] == 90


async def test_orders_are_counted_by_status(conn):
    await add_order(conn, {})

    found = await store_metrics(conn)

    assert found["bookstore_orders", "placed"] == 1
    assert found["bookstore_orders", "confirmed"] == 0


def test_the_counters_of_the_process_are_included():
    registry = CollectorRegistry()
    Counter("bookstore_example", "An example.", registry=registry).inc(3)

    assert read(metrics.text([registry], []))["bookstore_example_total",] == 3
