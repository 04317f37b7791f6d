import pytest
from sqlalchemy import delete, insert, update

from bookstore import doctor, orders
from bookstore import tasks as tasks_service
from bookstore.tables import (
    book_stock,
    idempotency_keys,
    notifications,
    order_events,
    order_lines,
    stock_movements,
    tasks,
)
from bookstore.tables import orders as order_rows
from bookstore.tasks import Task
from tests.bookstore.test_orders import place, process
from tests.factories import NOON, add_book


async def findings(conn):
    return {finding.invariant async for finding in doctor.examine(conn, now=NOON)}


@pytest.fixture
async def order(conn):
    placed = await place(conn, {await add_book(conn, stock=5): 2})
    await process(conn, placed)
    return placed


async def test_a_healthy_store_has_no_findings(conn, order):
    other = await place(conn, {order.items[0].book_id: 1})
    await process(conn, other)
    await orders.cancel(conn, other.number, actor="guest", by_staff=False, reason=None, now=NOON)
    await place(conn, {order.items[0].book_id: 1})

    assert await findings(conn) == set()


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        (update(book_stock).values(stock=4), "stock is the sum of its movements"),
        (
            delete(stock_movements).where(stock_movements.c.order_id.is_not(None)),
            "what was sold is on the ledger, once",
        ),
        (
            update(order_rows).values(status="placed"),
            "nothing was taken for orders that got nothing",
        ),
        (update(order_rows).values(status="cancelled"), "a cancelled order gave back what it took"),
        (update(order_rows).values(status="packed"), "no order is in a state that no event led to"),
        (delete(order_lines), "every order has lines"),
        (
            delete(order_events).where(order_events.c.seq == 1),
            "events are numbered without gaps",
        ),
        (update(order_events).values(kind="placed"), "nothing happens twice to an order"),
        (
            delete(notifications).where(notifications.c.kind == "order-confirmed"),
            "every status but packed has its letter",
        ),
        (
            update(notifications)
            .where(notifications.c.kind == "order-confirmed")
            .values(kind="order-shipped"),
            "no letter tells what did not happen",
        ),
        (delete(tasks), "every unsent letter is waiting for the mail service"),
        (
            update(order_rows).values(total_cents=1),
            "a total is the sum of its lines at the rates of its day",
        ),
        (update(order_rows).values(total_cents=None), "a decided order has a total"),
        (
            update(tasks).values(due_at=NOON - 2 * doctor.OVERDUE),
            "no task is left undone",
        ),
    ],
)
async def test_damage_is_found_and_named(conn, order, damage, invariant):
    await conn.execute(damage)

    assert invariant in await findings(conn)


def event(order_id, seq, kind):
    return insert(order_events).values(
        order_id=order_id, seq=seq, kind=kind, at=NOON, actor="somebody"
    )


async def test_an_order_that_is_not_where_its_history_ends_is_found(conn, order):
    await conn.execute(event(order.id, 3, "packed"))

    assert "an order is in the state that its last event led to" in await findings(conn)


async def test_a_history_with_a_step_that_does_not_exist_is_found(conn, order):
    await conn.execute(event(order.id, 3, "payment-paid"))
    await conn.execute(event(order.id, 4, "delivered"))

    assert "no order took a step that does not exist" in await findings(conn)


async def test_a_history_without_a_beginning_is_found(conn, order):
    await conn.execute(
        update(order_events).where(order_events.c.seq == 1).values(kind="payment-paid")
    )

    assert "every history begins with `placed`" in await findings(conn)


async def test_an_order_that_two_keys_made_is_found(conn, order):
    for key in ("one", "another"):
        await conn.execute(
            insert(idempotency_keys).values(
                owner="cart:1", key=key, request_hash="0" * 64, order_id=order.id, created_at=NOON
            )
        )

    assert "an order has one key" in await findings(conn)


async def test_a_task_that_outlived_its_work_is_found(conn, order):
    await conn.execute(update(notifications).values(status="sent"))
    await tasks_service.add(conn, Task.PROCESS_ORDERS, [order.id, 10**9], now=NOON)

    assert await findings(conn) >= {
        "no order service is asked for what it has done",
        "no mail service is asked for what it has done",
        "no task is about an order that is not there",
    }


async def test_a_task_that_is_offered_for_ever_and_never_taken_is_found(conn, order):
    await conn.execute(update(tasks).values(offers=21, due_at=NOON))

    assert "no task is left undone" in await findings(conn)


async def test_the_row_at_fault_is_named(conn, order):
    await conn.execute(update(order_rows).values(total_cents=1))

    (finding,) = [found async for found in doctor.examine(conn, now=NOON)]

    assert finding.row.startswith(f"order {order.number}: 1, not ")


async def test_a_placed_order_that_nobody_will_process_is_found(conn):
    await place(conn, {await add_book(conn, stock=5): 2})
    await conn.execute(delete(tasks))

    assert "every placed order is waiting for the order service" in await findings(conn)
