"""The one writer of an order's state: what every step brings with it."""

import re
from pathlib import Path

import pytest
from sqlalchemy import select, update

from bookstore import orders
from bookstore.backoffice import audit_report
from bookstore.database import engine as db
from bookstore.database.tables import books, notifications
from bookstore.errors import IllegalTransition, Invalid, NotYetOnSale
from bookstore.orders.states import State
from bookstore.payments import INVOICE, Payment, provider
from tests.factories import NOON, Trace, add_book, add_order, add_user

ROOT = Path(__file__).parents[3]
TOPS = ("bookstore", "actors", "web", "admin")


async def test_orders_that_can_take_the_step_do_and_the_others_say_why_not(conn):
    clerk, dune = await add_user(conn), await add_book(conn)
    for place, status in enumerate(["confirmed", "confirmed", "packed", "cancelled"]):
        await add_order(conn, {dune: 1}, number=f"000{place}-TEST", status=status)
    numbers = [f"000{place}-TEST" for place in range(4)]

    moved = await orders.move_many(
        conn, [*numbers, "NONE-TEST"], State.PACKED, user_id=clerk, now=NOON
    )

    assert moved.done == ["0000-TEST", "0001-TEST"]
    assert set(moved.refused) == {"0002-TEST", "0003-TEST", "NONE-TEST"}
    first = await orders.get(conn, "0000-TEST")
    assert (first.status, first.last_seq) == (State.PACKED, 2)
    (event,) = await orders.events(conn, first.id, after=1)
    assert (event.id, event.kind, event.actor) == (2, "packed", f"staff:{clerk}")
    audited = (await audit_report.AUDIT.find(conn)).items
    assert {change.object_id for change in audited} == {"0000-TEST", "0001-TEST"}
    assert audited[0].changes == {"status": ["confirmed", "packed"]}


async def test_each_customer_gets_an_email_when_many_orders_are_shipped(conn):
    clerk, dune = await add_user(conn), await add_book(conn)
    for place in range(2):
        await add_order(conn, {dune: 1}, number=f"000{place}-TEST", status="packed")

    await orders.move_many(conn, ["0000-TEST", "0001-TEST"], State.SHIPPED, user_id=clerk, now=NOON)

    kinds = await conn.scalars(select(notifications.c.kind))
    assert list(kinds) == ["order-shipped"] * 2


async def test_an_order_is_not_shipped_before_the_day_of_a_book_by_any_road(conn):
    clerk = await add_user(conn)
    dune, emma = await add_book(conn, title="Dune"), await add_book(conn, title="Emma")
    early = await add_order(conn, {dune: 1, emma: 1}, number="0000-TEST", status="packed")
    ready = await add_order(conn, {emma: 1}, number="0001-TEST", status="packed")
    await conn.execute(update(books).where(books.c.id == dune).values(on_sale_from="2099"))
    numbers = ["0000-TEST", "0001-TEST"]

    with pytest.raises(NotYetOnSale) as refusal:
        await orders.move(conn, "0000-TEST", State.SHIPPED, actor=f"staff:{clerk}", now=NOON)
    moved = await orders.move_many(conn, numbers, State.SHIPPED, user_id=clerk, now=NOON)
    held = await orders.move_locked(conn, [early], State.SHIPPED, user_id=clerk, now=NOON)

    assert refusal.value.titles == ["Dune"]
    assert moved.done == ["0001-TEST"]
    assert moved.refused == {"0000-TEST": "Not on sale yet: Dune."}
    assert held == {early} != {ready}
    assert (await orders.get(conn, "0000-TEST")).status is State.PACKED
    # Everything else can be done with it.
    await orders.move(conn, "0000-TEST", State.CANCELLED, actor=f"staff:{clerk}", now=NOON)


@pytest.mark.parametrize("to", [State.CANCELLED, State.CONFIRMED, State.DELIVERED])
async def test_steps_that_need_a_text_are_taken_one_by_one(conn, to):
    with pytest.raises(Invalid):
        await orders.move_many(conn, ["0000-TEST"], to, user_id=1, now=NOON)


async def test_watchers_are_notified_when_many_orders_are_packed(engine):
    notified = []
    watched = db.notifying(engine, notified.extend)
    async with db.transaction(watched) as conn:
        clerk, dune = await add_user(conn), await add_book(conn)
        ids = [
            await add_order(conn, {dune: 1}, number=f"000{place}-TEST", status="confirmed")
            for place in range(3)
        ]
    numbers = [f"000{place}-TEST" for place in range(3)]

    async with db.transaction(watched) as conn:
        await orders.move_many(conn, numbers, State.PACKED, user_id=clerk, now=NOON)
        assert notified == []  # Not before the commit.

    assert notified == ids


class Prepaid:
    """A provider that, other than an invoice, keeps a deposit when an order is called off."""

    code = "prepaid"
    steps = INVOICE.steps

    def called_off(self, payment):
        return Payment.PAID if payment is Payment.AUTHORIZED else Payment.REFUNDED


@pytest.mark.parametrize(("before", "after"), [("authorized", "paid"), ("paid", "refunded")])
async def test_the_orders_own_provider_is_asked_when_it_is_rejected(
    conn, monkeypatch, before, after
):
    monkeypatch.setitem(provider.PROVIDERS, "prepaid", Prepaid())
    dune = await add_book(conn, stock=0)
    facts = {"payment_status": before, "payment_provider": "prepaid", "status": "placed"}
    ids = [
        await add_order(conn, {dune: 1}, number="0000-TEST", **facts),
        await add_order(
            conn, {dune: 1}, number="0001-TEST", payment_status="paid", status="placed"
        ),
    ]

    await orders.process(conn, ids, trace=Trace(), now=NOON)

    found = await orders.by_ids(conn, ids)
    assert [found[id_].status for id_ in ids] == [State.REJECTED] * 2
    assert [found[id_].payment_status for id_ in ids] == [after, Payment.REFUND_DUE]


async def test_the_orders_own_provider_is_asked_when_it_is_cancelled(conn, monkeypatch):
    monkeypatch.setitem(provider.PROVIDERS, "prepaid", Prepaid())
    dune = await add_book(conn)
    facts = {"payment_status": "authorized", "payment_provider": "prepaid"}
    await add_order(conn, {dune: 1}, number="0000-TEST", status="confirmed", **facts)

    cancelled = await orders.move(conn, "0000-TEST", State.CANCELLED, actor="staff", now=NOON)

    assert cancelled.payment_status is Payment.PAID


async def test_money_at_a_provider_of_a_newer_release_is_left_as_it_is(conn):
    dune = await add_book(conn)
    facts = {"payment_status": "paid", "payment_provider": "from-tomorrow"}
    await add_order(conn, {dune: 1}, number="0000-TEST", status="confirmed", **facts)

    cancelled = await orders.move(conn, "0000-TEST", State.CANCELLED, actor="staff", now=NOON)

    assert (cancelled.status, cancelled.payment_status) == (State.CANCELLED, Payment.PAID)


async def test_no_order_moves_when_one_of_them_cannot(conn):
    dune = await add_book(conn)
    ids = [
        await add_order(conn, {dune: 1}, number="0000-TEST", status="confirmed"),
        await add_order(conn, {dune: 1}, number="0001-TEST", status="delivered"),
    ]

    with pytest.raises(IllegalTransition):
        await orders.move_locked(conn, ids, State.PACKED, user_id=1, now=NOON)

    found = await orders.by_ids(conn, ids)
    assert [order.status for order in found.values()] == [State.CONFIRMED, State.DELIVERED]


def test_one_statement_for_each_dialect_changes_the_state_of_orders():
    """In the source: raw SQL that sets the status of `orders`, and Core's `update(orders)`."""
    sources = {path: path.read_text() for top in TOPS for path in (ROOT / top).rglob("*.py")}
    raw = re.compile(
        r"UPDATE[^;\"]*?\borders\b[^;\"]*?\bSET\b[^;\"]*?(?<!payment_)\bstatus = ", re.S
    )
    core = re.compile(r"update\((orders|order_table|order_rows)\)(?:(?!\n\n)[\s\S])*?\bstatus=")
    found = [
        path.relative_to(ROOT).as_posix()
        for path, text in sources.items()
        if "versions" not in path.parts
        for _ in [*raw.findall(text), *core.findall(text)]
    ]
    assert found == ["bookstore/orders/transitions.py"] * 2
