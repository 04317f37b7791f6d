"""What a guest ordered moves to the account whose address is confirmed."""

import asyncio

import pytest
from sqlalchemy import update

from bookstore import orders
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import order_events, users
from bookstore.notifications import notifications
from bookstore.operations import doctor
from tests.factories import NOON, add_book, add_order, add_user

ANNA = "Anna@example.com"


async def confirm(conn, user_id):
    await conn.execute(update(users).where(users.c.id == user_id).values(email_verified_at=NOON))


async def guest_order(conn, **columns):
    order_id = await add_order(conn, {await add_book(conn): 1}, **{"email": ANNA, **columns})
    await conn.execute(
        order_events.insert().values(
            order_id=order_id, seq=1, kind="placed", at=NOON, actor="guest"
        )
    )
    await notifications.queue_for_orders(conn, [(order_id, "order-placed", None, ANNA)], now=NOON)
    return (await orders.by_ids(conn, [order_id]))[order_id]


async def test_a_verified_address_brings_its_guest_orders(conn):
    first = await guest_order(conn)
    second = await guest_order(conn, email="anna@EXAMPLE.com")
    await guest_order(conn, email="boris@example.com")
    anna = await add_user(conn, email="anna@example.com")
    await confirm(conn, anna)

    claimed = await orders.claim(conn, anna, now=NOON)

    assert claimed == [first.number, second.number]
    own = (await orders.of_user(conn, anna)).items
    assert [order.number for order in own] == [second.number, first.number]
    assert [event.kind for event in await orders.events(conn, first.id)] == ["placed", "claimed"]
    shown = (await notifications.of_user(conn, anna)).items
    assert [it.order_number for it in shown] == [second.number, first.number]
    assert await orders.claim(conn, anna, now=NOON) == []
    broken = {finding.invariant async for finding in doctor.examine(conn, now=NOON)}
    assert "order events are numbered without gaps" not in broken


async def test_an_unverified_address_brings_no_orders(conn):
    order = await guest_order(conn)
    anna = await add_user(conn, email="anna@example.com")

    assert await orders.claim(conn, anna, now=NOON) == []

    assert (await orders.get(conn, order.number)).user_id is None


async def test_orders_of_another_account_are_never_claimed(conn):
    boris = await add_user(conn)
    order = await guest_order(conn, user_id=boris)
    anna = await add_user(conn, email="anna@example.com")
    await confirm(conn, anna)

    assert await orders.claim(conn, anna, now=NOON) == []
    assert (await orders.get(conn, order.number)).user_id == boris


async def test_an_order_is_claimed_once_by_requests_at_once(engine):
    async with transaction(engine) as conn:
        order = await guest_order(conn)
        anna = await add_user(conn, email="anna@example.com")
        await confirm(conn, anna)

    async def claim():
        async def work():
            async with transaction(engine) as conn:
                return await orders.claim(conn, anna, now=NOON)

        return await retry_transaction(work)

    answers = await asyncio.gather(*(claim() for _ in range(3)))

    assert sorted(answers) == [[], [], [order.number]]
    async with reading(engine) as conn:
        assert len(await orders.events(conn, order.id)) == 2


@pytest.mark.parametrize("evil", ["%", "_nna@example.com", "%@example.com"])
async def test_an_address_is_compared_character_by_character(conn, evil):
    await guest_order(conn)
    stranger = await add_user(conn, email=evil)
    await confirm(conn, stranger)

    assert await orders.claim(conn, stranger, now=NOON) == []
