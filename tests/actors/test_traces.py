"""Request ids: tasks and e-mails keep the id of their own request, even in a shared batch."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from actors.batching import BatchProcessor
from actors.embedded import workers
from bookstore import correlation
from bookstore.database import engine as db
from bookstore.database.tables import notifications as notification_rows
from bookstore.database.tables import tasks as rows
from bookstore.notifications import notifications
from bookstore.orders import processing
from bookstore.orders.checkout import Checkouts
from bookstore.tasks import jobs, outbox
from bookstore.tasks.jobs import JobKind
from bookstore.tasks.outbox import Task
from tests.actors.conftest import RATES, all_tasks_done
from tests.factories import NOON, add_book, republish_all_tasks

Lines = Callable[[], list[dict[str, Any]]]


def now():
    return datetime.now(UTC)


async def request_ids_by_order(engine):
    """`{order_id: [the request id of each of its queued e-mails, ...]}`."""
    query = select(notification_rows.c.order_id, rows.c.request_id).join(
        rows, (rows.c.task == Task.SEND_NOTIFICATIONS) & (rows.c.ref_id == notification_rows.c.id)
    )
    async with db.reading(engine) as conn:
        found = (await conn.execute(query)).all()
    return {
        order_id: [it.request_id for it in found if it.order_id == order_id]
        for order_id in {it.order_id for it in found}
    }


@pytest.fixture
async def placed(engine, make_checkout_request):
    """Three orders of three requests, placed in one batch: `{order_id: request_id}`."""
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=2)
    request_ids = [f"request-{number}" for number in range(3)]
    requests = [
        replace(await make_checkout_request({dune: 1}), request_id=it) for it in request_ids
    ]
    batch_sizes = []
    checkouts = Checkouts(engine, RATES, watch=batch_sizes.append)
    placed = await asyncio.gather(*map(checkouts.place, requests))
    assert batch_sizes == [3]
    return {it.order.id: request_id for it, request_id in zip(placed, request_ids, strict=True)}


async def test_emails_of_orders_placed_in_one_batch_keep_their_own_request_ids(engine, placed):
    assert await request_ids_by_order(engine) == {
        it: [request_id] for it, request_id in placed.items()
    }


async def test_emails_of_orders_processed_in_one_batch_keep_their_own_request_ids(
    engine, placed, log_lines
):
    batches = BatchProcessor(
        engine, Task.PROCESS_ORDERS, processing.process, worker="test", clock=now
    )

    await batches.process([*placed], "m")

    assert await request_ids_by_order(engine) == {
        it: [request_id] * 2 for it, request_id in placed.items()
    }
    [line] = [it for it in log_lines() if it["event"] == "processed"]
    assert (line["count"], line["ids"]) == (3, [*placed])
    assert line["request_ids"] == [*placed.values()]
    assert line["seconds"] > 0


async def test_an_order_keeps_its_request_id_after_a_failed_attempt(engine, placed, log_lines):
    order_id, request_id = next(iter(placed.items()))
    bugs = [ValueError("a bug"), ValueError("a bug")]

    async def process(conn, ref_ids, /, **facts):
        if bugs:
            raise bugs.pop()
        await processing.process(conn, ref_ids, **facts)

    batches = BatchProcessor(engine, Task.PROCESS_ORDERS, process, worker="test", clock=now)
    await batches.process([order_id], "m")
    async with db.transaction(engine) as conn:
        await republish_all_tasks(conn)
    await batches.process([order_id], "m")

    lines = {
        it["event"]: it.get("request_id") for it in log_lines() if "task" in it or "exception" in it
    }
    assert lines == {f"process_orders({order_id}) failed": request_id, "processed": request_id}
    assert (await request_ids_by_order(engine))[order_id] == [request_id] * 2


async def test_a_task_published_by_the_relay_keeps_its_request_id(
    engine, settings, place_order, log_lines
):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=2)
    order = await place_order({dune: 1}, request_id="without-a-message")

    async with workers(settings):  # Only its relay finds the order.
        await all_tasks_done(engine)

    lines = [it for it in log_lines() if it.get("request_id") == "without-a-message"]
    assert [it["ids"] for it in lines if it["event"] == "processed"] == [[order.id]]
    assert sum(it["count"] for it in lines if it["event"] == "sent") == 2


async def test_an_email_has_the_request_id_of_its_cause(engine):
    with correlation.bind_request_ids(["of-staff"]):
        async with db.transaction(engine) as conn:
            await notifications.queue(conn, "welcome", recipient="mira@example.com", now=NOON)
    async with db.reading(engine) as conn:
        [task] = await outbox.find(conn)

    assert task.request_id == "of-staff"
    assert correlation.current() is None


async def test_a_job_is_logged_with_its_request_id(engine, settings, log_lines):
    async with db.transaction(engine) as conn:
        await add_book(conn)
        job = await jobs.add(
            conn,
            JobKind.EXPORT_BOOKS,
            user_id=None,
            options={"format": "csv"},
            now=NOON,
            request_id="export",
        )

    async with workers(settings):
        await all_tasks_done(engine)

    [line] = [it for it in log_lines() if it["event"] == f"worked on job {job.id}"]
    assert (line["task"], line["request_id"]) == ("run_jobs", "export")
    assert json.dumps(line)
