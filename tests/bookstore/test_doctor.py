import pytest
from sqlalchemy import delete, update

from bookstore import doctor, orders
from bookstore.tables import (
    book_stock,
    notifications,
    order_events,
    order_lines,
    stock_movements,
    tasks,
)
from bookstore.tables import orders as order_rows
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


async def test_a_placed_order_that_nobody_will_process_is_found(conn):
    await place(conn, {await add_book(conn, stock=5): 2})
    await conn.execute(delete(tasks))

    assert "every placed order is waiting for the order service" in await findings(conn)
