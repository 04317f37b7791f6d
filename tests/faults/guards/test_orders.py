"""Guards of the history of an order."""

import asyncio

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from bookstore import orders
from bookstore.database import engine as db
from bookstore.database.statements import BulkQuery
from bookstore.database.tables import orders as order_rows
from bookstore.orders import processing, transitions
from bookstore.payments import Payment
from tests.factories import NOON
from tests.faults.guards.scene import (
    batches,
    books,
    place,
)


async def test_state_check_on_redelivery(engine, guarded, monkeypatch):
    if not guarded:
        blind = BulkQuery(
            "order_id BIGINT",
            "o.id, o.number, o.last_seq, o.user_id, o.email, o.payment_status,"
            " o.payment_provider, CONCAT(o.terms), o.placed_at, o.language",
            "FROM {rows} AS v {join} orders AS o ON o.id = v.order_id {for_update}",
        )
        monkeypatch.setattr(processing, "_LOCK", blind)
    (dune,) = await books(engine, stock=7)
    order = await place(engine, {dune: 1})
    async with db.transaction(engine) as conn:
        await orders.cancel(
            conn, order.number, actor="guest", by_staff=False, reason=None, now=NOON
        )

    await batches(engine).process([order.id], "m")

    async with db.reading(engine) as conn:
        status = await conn.scalar(select(order_rows.c.status))
    assert (status == "cancelled") == guarded


async def test_event_numbers_under_the_lock_of_the_order(engine, guarded, monkeypatch):
    async def unlocked(conn, number):
        columns = [order_rows.c[name] for name in transitions.Locked._fields]
        query = select(*columns).where(order_rows.c.number == number)
        return transitions.Locked(*(await conn.execute(query)).one())

    if not guarded:
        monkeypatch.setattr(transitions, "_lock", unlocked)
    (dune,) = await books(engine, stock=70)
    placed = [await place(engine, {dune: 1}) for _ in range(20)]

    async def cancel(order):
        async with db.transaction(engine) as conn:
            await orders.cancel(
                conn, order.number, actor="guest", by_staff=False, reason=None, now=NOON
            )

    async def pay(order):
        async with db.transaction(engine) as conn:
            await orders.change_payment(conn, order.number, Payment.PAID, actor="clerk", now=NOON)

    outcomes = [
        outcome
        for order in placed
        for outcome in await asyncio.gather(cancel(order), pay(order), return_exceptions=True)
    ]

    clashes = [outcome for outcome in outcomes if isinstance(outcome, IntegrityError)]
    assert (not clashes) == guarded
