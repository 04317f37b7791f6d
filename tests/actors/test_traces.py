"""Lists and letters of many requests: each goes back to its own, whoever worked beside it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from actors.batching import Batches
from actors.embedded import workers
from bookstore import correlation
from bookstore.database import engine as db
from bookstore.database.tables import notifications as letter_rows
from bookstore.database.tables import tasks as rows
from bookstore.notifications import notifications
from bookstore.orders import processing
from bookstore.orders.checkout import Checkouts
from bookstore.tasks import jobs, outbox
from bookstore.tasks.jobs import Kind
from bookstore.tasks.outbox import Task
from tests.actors.conftest import RATES, nothing_left
from tests.factories import NOON, add_book, come_by

Lines = Callable[[], list[dict[str, Any]]]


def now():
    return datetime.now(UTC)


async def letters_by_order(engine):
    """`{order_id: [the request of each of its letters, ...]}`, of those that wait."""
    query = select(letter_rows.c.order_id, rows.c.request_id).join(
        rows, (rows.c.task == Task.SEND_NOTIFICATIONS) & (rows.c.ref_id == letter_rows.c.id)
    )
    async with db.reading(engine) as conn:
        found = (await conn.execute(query)).all()
    return {
        order_id: [it.request_id for it in found if it.order_id == order_id]
        for order_id in {it.order_id for it in found}
    }


@pytest.fixture
async def placed(engine, make_wish):
    """Three orders of three requests, placed together: `{order_id: request_id}`."""
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=2)
    asked = [f"request-{number}" for number in range(3)]
    wishes = [replace(await make_wish({dune: 1}), request_id=it) for it in asked]
    together = []
    checkouts = Checkouts(engine, RATES, watch=together.append)
    placed = await asyncio.gather(*map(checkouts.place, wishes))
    assert together == [3]
    return {it.order.id: asked for it, asked in zip(placed, asked, strict=True)}


async def test_letters_of_orders_placed_together_go_back_to_their_own_requests(engine, placed):
    assert await letters_by_order(engine) == {it: [asked] for it, asked in placed.items()}


async def test_letters_of_orders_decided_together_go_back_to_their_own_requests(
    engine, placed, log_lines
):
    batches = Batches(engine, Task.PROCESS_ORDERS, processing.process, worker="test", clock=now)

    await batches.work_off([*placed], "m")

    assert await letters_by_order(engine) == {it: [asked] * 2 for it, asked in placed.items()}
    [line] = [it for it in log_lines() if it["event"] == "worked off"]
    assert (line["count"], line["ids"]) == (3, [*placed])
    assert line["request_ids"] == [*placed.values()]
    assert line["seconds"] > 0


async def test_an_order_that_fails_first_keeps_its_id_to_the_end(engine, placed, log_lines):
    order_id, request_id = next(iter(placed.items()))
    bugs = [ValueError("a bug"), ValueError("a bug")]

    async def process(conn, ref_ids, /, **facts):
        if bugs:
            raise bugs.pop()
        await processing.process(conn, ref_ids, **facts)

    batches = Batches(engine, Task.PROCESS_ORDERS, process, worker="test", clock=now)
    await batches.work_off([order_id], "m")
    async with db.transaction(engine) as conn:
        await come_by(conn)
    await batches.work_off([order_id], "m")

    said = {
        it["event"]: it.get("request_id") for it in log_lines() if "task" in it or "exception" in it
    }
    assert said == {f"process_orders({order_id}) failed": request_id, "worked off": request_id}
    assert (await letters_by_order(engine))[order_id] == [request_id] * 2


async def test_what_the_relay_offers_keeps_its_id(engine, settings, place_order, log_lines):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=2)
    order = await place_order({dune: 1}, request_id="nobody-was-told")

    async with workers(settings):  # Its relay is the only one who knows of it.
        await nothing_left(engine)

    said = [it for it in log_lines() if it.get("request_id") == "nobody-was-told"]
    assert [it["ids"] for it in said if it["event"] == "worked off"] == [[order.id]]
    assert sum(it["count"] for it in said if it["event"] == "sent") == 2


async def test_work_for_one_request_leads_to_letters_of_the_same_one(engine):
    with correlation.caused_by(["of-staff"]):
        async with db.transaction(engine) as conn:
            await notifications.queue(conn, "welcome", recipient="mira@example.com", now=NOON)
    async with db.reading(engine) as conn:
        [task] = await outbox.find(conn)

    assert task.request_id == "of-staff"
    assert correlation.current() is None


async def test_a_job_is_logged_with_the_request_that_wanted_it(engine, settings, log_lines):
    async with db.transaction(engine) as conn:
        await add_book(conn)
        job = await jobs.add(
            conn,
            Kind.EXPORT_BOOKS,
            user_id=None,
            options={"format": "csv"},
            now=NOON,
            request_id="export",
        )

    async with workers(settings):
        await nothing_left(engine)

    [line] = [it for it in log_lines() if it["event"] == f"worked on job {job.id}"]
    assert (line["task"], line["request_id"]) == ("run_jobs", "export")
    assert json.dumps(line)
