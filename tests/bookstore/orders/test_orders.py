import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import orders
from bookstore.carts import carts
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import audit_log, notifications, tasks
from bookstore.errors import IllegalTransition
from bookstore.orders import checkout
from bookstore.orders.states import State
from bookstore.payments import Payment
from bookstore.payments.provider import PROVIDERS
from tests.factories import NOON, add_book, add_order, add_user
from tests.ordering import RATES, checkout_request, place, process, stock_of

NOTHING_OWED = {Payment.UNPAID, Payment.REFUNDED}


async def emails_of(conn: AsyncConnection, order: orders.Order) -> list[str]:
    found = await conn.execute(
        select(notifications.c.kind)
        .where(notifications.c.order_id == order.id)
        .order_by(notifications.c.id)
    )
    return list(found.scalars())


async def test_an_order_is_placed_with_its_task_and_its_notification(conn):
    dune = await add_book(conn, title="Dune 🪐 ‘quoted’", price_cents=1290, stock=5)

    order = await place(conn, {dune: 2})

    assert (await orders.get(conn, order.number)) == order
    assert (order.status, order.total_cents, order.subtotal_cents) == (State.PLACED, None, 2580)
    assert [event.kind for event in await orders.events(conn, order.id)] == ["placed"]
    assert await emails_of(conn, order) == ["order-placed"]
    waiting = await conn.execute(select(tasks.c.task).order_by(tasks.c.task))
    assert list(waiting.scalars()) == ["process_orders", "send_notifications"]


async def test_any_since_finds_a_recent_order(conn):
    assert not await orders.any_since(conn, NOON - timedelta(seconds=5))
    await add_order(conn, {await add_book(conn): 1}, placed_at=NOON)
    assert await orders.any_since(conn, NOON - timedelta(seconds=5))
    assert not await orders.any_since(conn, NOON + timedelta(seconds=1))


async def test_a_confirmed_order_costs_what_the_cart_showed(conn):
    dune = await add_book(conn, price_cents=1290, stock=5)
    wanted = await checkout_request(conn, {dune: 2})
    shown = (await carts.get(conn, wanted.cart_id, RATES)).totals
    (placed,) = await checkout.check_out(conn, [wanted], RATES, now=NOON)

    assert await process(conn, placed.order) == [State.CONFIRMED]

    order = await orders.get(conn, placed.order.number)
    assert order.total_cents == shown.total_cents == 2 * 1290 + 290
    assert order.tax_cents == shown.tax_cents == 188
    assert await stock_of(conn, dune) == (3, 3)
    assert await emails_of(conn, order) == ["order-placed", "order-confirmed"]


async def test_the_last_copy_is_sold_once(conn):
    dune = await add_book(conn, stock=1)
    first, second = await place(conn, {dune: 1}), await place(conn, {dune: 1})

    assert await process(conn, second, first) == [State.REJECTED, State.CONFIRMED]

    assert await stock_of(conn, dune) == (0, 0)
    assert (await orders.get(conn, second.number)).reason == "Dune: sold out"


async def test_an_order_is_filled_completely_or_not_at_all(conn):
    dune, emma = await add_book(conn, stock=5), await add_book(conn, title="Emma", stock=2)
    order = await place(conn, {dune: 1, emma: 2})
    other = await place(conn, {emma: 1})
    await process(conn, other)

    assert await process(conn, order) == [State.REJECTED]

    assert await stock_of(conn, dune) == (5, 5)
    assert await stock_of(conn, emma) == (1, 1)
    assert (await orders.get(conn, order.number)).reason == "Emma: 2 ordered, 1 in stock"


async def test_processing_an_order_twice_changes_it_once(conn):
    dune = await add_book(conn, stock=5)
    order = await place(conn, {dune: 1})
    await process(conn, order)

    await process(conn, order)

    assert await stock_of(conn, dune) == (4, 4)
    assert [event.id for event in await orders.events(conn, order.id)] == [1, 2]


async def test_a_cancelled_order_returns_its_items_to_stock_once(conn):
    dune = await add_book(conn, stock=5)
    order = await place(conn, {dune: 2})
    await process(conn, order)

    cancelled = await orders.cancel(
        conn, order.number, actor="customer", by_staff=False, reason="Changed my mind", now=NOON
    )

    assert cancelled.status is State.CANCELLED
    assert await stock_of(conn, dune) == (5, 5)
    with pytest.raises(IllegalTransition):
        await orders.cancel(
            conn, order.number, actor="customer", by_staff=False, reason=None, now=NOON
        )


async def test_an_order_cancelled_before_processing_takes_no_stock(conn):
    dune = await add_book(conn, stock=5)
    order = await place(conn, {dune: 2})
    await orders.cancel(conn, order.number, actor="guest", by_staff=False, reason=None, now=NOON)

    assert await process(conn, order) == [State.CANCELLED]

    assert await stock_of(conn, dune) == (5, 5)
    assert await emails_of(conn, order) == ["order-placed", "order-cancelled"]


async def test_only_staff_cancel_a_packed_order(conn):
    dune = await add_book(conn, stock=5)
    order = await place(conn, {dune: 2})
    await process(conn, order)
    await orders.move(conn, order.number, State.PACKED, actor="staff", now=NOON)

    with pytest.raises(IllegalTransition):
        await orders.cancel(
            conn, order.number, actor="customer", by_staff=False, reason=None, now=NOON
        )
    await orders.cancel(conn, order.number, actor="staff", by_staff=True, reason=None, now=NOON)

    assert await stock_of(conn, dune) == (5, 5)


async def test_each_step_from_packed_to_delivered_sends_an_email_except_packed(conn):
    dune = await add_book(conn, stock=5)
    order = await place(conn, {dune: 1})
    await process(conn, order)

    for state in (State.PACKED, State.SHIPPED, State.DELIVERED):
        await orders.move(
            conn,
            order.number,
            state,
            actor="staff",
            tracking="JD01" if state is State.SHIPPED else None,
            now=NOON,
        )

    order = await orders.get(conn, order.number)
    assert (order.status, order.tracking, order.final) == (State.DELIVERED, "JD01", True)
    assert await emails_of(conn, order) == [
        "order-placed",
        "order-confirmed",
        "order-shipped",
        "order-delivered",
    ]


@pytest.mark.parametrize("state", [State.CONFIRMED, State.REJECTED, State.SHIPPED, State.PLACED])
async def test_staff_cannot_confirm_or_reject_or_skip_a_step(conn, state):
    order = await place(conn, {await add_book(conn, stock=5): 1})

    with pytest.raises(IllegalTransition):
        await orders.move(conn, order.number, state, actor="staff", now=NOON)


async def test_cancelling_a_paid_order_makes_a_refund_due(conn):
    order = await place(conn, {await add_book(conn, stock=5): 1})
    await orders.change_payment(conn, order.number, Payment.PAID, actor="staff", now=NOON)

    cancelled = await orders.cancel(
        conn, order.number, actor="staff", by_staff=True, reason=None, now=NOON
    )

    assert cancelled.payment_status is Payment.REFUND_DUE


async def test_a_paid_order_that_is_rejected_makes_a_refund_due(conn):
    dune = await add_book(conn, stock=1)
    first, second, third = [await place(conn, {dune: 1}) for _ in range(3)]
    for order in (first, second):
        await orders.change_payment(conn, order.number, Payment.PAID, actor="staff", now=NOON)

    states = await process(conn, first, second, third)

    assert states == [State.CONFIRMED, State.REJECTED, State.REJECTED]
    payments = [(await orders.get(conn, it.number)).payment_status for it in (first, second, third)]
    assert payments == [Payment.PAID, Payment.REFUND_DUE, Payment.UNPAID]


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_a_provider_leads_from_each_known_status_to_other_known_ones(provider):
    assert PROVIDERS[provider.code] is provider
    for payment in Payment:
        after = provider.called_off(payment)
        # A captured payment is owed back; no other claim may remain on an order that ended.
        assert after in (
            {Payment.REFUND_DUE} if payment is Payment.PAID else NOTHING_OWED | {payment}
        )
        assert payment not in provider.steps.get(payment, frozenset())


async def test_orders_are_listed_in_pages_newest_first(conn):
    dune = await add_book(conn, stock=50)
    user_id = await add_user(conn)
    placed = []
    for _ in range(5):
        wanted = await checkout_request(conn, {dune: 1}, user_id=user_id)
        (answer,) = await checkout.check_out(conn, [wanted], RATES, now=NOON)
        placed.append(answer.order.number)

    first = await orders.of_user(conn, user_id, limit=3)
    second = await orders.of_user(conn, user_id, limit=3, cursor=first.next)

    assert [order.number for order in [*first.items, *second.items]] == placed[::-1]
    assert second.next is None


async def test_staff_find_an_order_by_number_address_title_and_isbn(conn):
    order = await place(conn, {await add_book(conn, title="Middlemarch", stock=5): 1})

    for q in (order.number[:6].lower(), "mira@", "march", order.items[0].isbn13):
        assert [found.number for found in (await orders.find(conn, q=q)).items] == [order.number]
    assert (await orders.find(conn, q="100%")).items == []


async def test_steps_by_staff_are_in_the_audit_log_with_their_user(conn):
    dune, staff = await add_book(conn, price_cents=1000, stock=9), await add_user(conn)
    order = await place(conn, {dune: 1})
    await process(conn, order)
    who = f"staff:{staff}"

    await orders.change_payment(conn, order.number, Payment.PAID, actor=who, now=NOON)
    await orders.move(conn, order.number, State.PACKED, actor=who, now=NOON)
    await orders.move(conn, order.number, State.CANCELLED, actor=who, now=NOON)

    found = (await conn.execute(select(audit_log).order_by(audit_log.c.id))).all()
    assert {(row.user_id, row.object_type, row.object_id) for row in found} == {
        (staff, "order", order.number)
    }
    assert [(row.action, row.changes) for row in found] == [
        ("change-payment", {"payment_status": ["unpaid", "paid"]}),
        ("move-order", {"status": ["confirmed", "packed"]}),
        (
            "move-order",
            {"status": ["packed", "cancelled"], "payment_status": ["paid", "refund_due"]},
        ),
    ]


async def test_steps_by_customers_are_not_in_the_audit_log(conn):
    dune = await add_book(conn, price_cents=1000, stock=9)
    order = await place(conn, {dune: 1})
    await process(conn, order)

    await orders.cancel(conn, order.number, actor="customer", by_staff=False, reason=None, now=NOON)

    assert (await conn.execute(select(audit_log))).all() == []


async def test_five_cancellations_at_once_return_the_items_once(engine):
    async with transaction(engine) as conn:
        dune = await add_book(conn, stock=5)
        order = await place(conn, {dune: 3})
        await process(conn, order)
        await orders.change_payment(conn, order.number, Payment.PAID, actor="staff", now=NOON)

    async def cancel(actor):
        async def work():
            async with transaction(engine) as conn:
                return await orders.cancel(
                    conn,
                    order.number,
                    actor=actor,
                    by_staff=actor == "staff",
                    reason=None,
                    now=NOON,
                )

        return await retry_transaction(work)

    answers = await asyncio.gather(*map(cancel, ["customer", "staff"] * 3), return_exceptions=True)

    refusals = [it for it in answers if isinstance(it, Exception)]
    assert [type(it) for it in refusals] == [IllegalTransition] * 5, refusals
    async with reading(engine) as conn:
        assert await stock_of(conn, dune) == (5, 5)
        cancelled = await orders.get(conn, order.number)
        events = [event.kind for event in await orders.events(conn, order.id)]
    assert (cancelled.status, cancelled.payment_status) == (State.CANCELLED, Payment.REFUND_DUE)
    assert events == ["placed", "confirmed", "payment-paid", "cancelled"]
