"""Payment status, transitions and tasks for staff."""

import pytest
from sqlalchemy import select, update

from bookstore.database.engine import transaction
from bookstore.database.tables import tasks
from bookstore.users.permissions import Role
from tests.factories import NOON, add_book
from tests.web.ordering import place
from web.server.keys import ENGINE


@pytest.fixture
async def book(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await add_book(conn, title="Dune", price_cents=1000, stock=5)


async def test_the_payment_status_allows_only_valid_transitions(visitor, book):
    anna, manager = await visitor(Role.CUSTOMER), await visitor(Role.MANAGER)
    number = (await (await place(anna, book)).json())["number"]
    path = f"/api/v1/admin/orders/{number}/payment"

    async def pay(to):
        answer = await manager.post(path, json={"to": to})
        content = await answer.json()
        return answer.status, content.get("code") or content["payment_status"]

    assert await pay("refunded") == (409, "illegal-transition")
    assert await pay("gold") == (422, "invalid")
    assert await pay("paid") == (200, "paid")
    assert await pay("paid") == (409, "illegal-transition")
    cancelled = await manager.post(f"/api/v1/orders/{number}/cancel", json={"reason": "lost"})
    assert (await cancelled.json())["payment_status"] == "refund_due"
    assert await pay("refunded") == (200, "refunded")
    assert (
        await manager.post("/api/v1/admin/orders/NOSUCH/payment", json={"to": "paid"})
    ).status == 404


async def test_a_cancelled_order_allows_no_transition(visitor, book):
    anna, clerk = await visitor(Role.CUSTOMER), await visitor(Role.CLERK)
    number = (await (await place(anna, book)).json())["number"]
    path = f"/api/v1/orders/{number}/cancel"

    first, again = await anna.post(path), await anna.post(path)
    moved = await clerk.post(f"/api/v1/admin/orders/{number}/transitions", json={"to": "packed"})

    assert (first.status, (await first.json())["status"]) == (200, "cancelled")
    for answer in (again, moved):
        assert (answer.status, (await answer.json())["code"]) == (409, "illegal-transition")


async def test_tasks_are_listed_by_state(visitor, server, book):
    manager = await visitor(Role.MANAGER)
    await place(await visitor(Role.CUSTOMER), book)
    async with transaction(server.app[ENGINE]) as conn:
        dead = await conn.scalar(select(tasks.c.id).order_by(tasks.c.id).limit(1))
        gone = {"dead_at": NOON, "attempts": 5, "error": "ValueError"}
        await conn.execute(update(tasks).where(tasks.c.id == dead).values(gone))

    async def found(query):
        answer = await manager.get(f"/api/v1/admin/tasks{query}")
        return {(task["id"] == dead, task["state"]) for task in (await answer.json())["items"]}

    both = {(True, "dead"), (False, "waiting")}
    assert await found("?state=dead") == {(True, "dead")}
    assert await found("?state=waiting") == {(False, "waiting")}
    assert await found("?state=waiting,dead") == await found("") == both
    assert (await manager.get("/api/v1/admin/tasks?state=lost")).status == 422
