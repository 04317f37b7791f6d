import asyncio

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from bookstore.carts import carts
from bookstore.carts.carts import CartWrite
from bookstore.carts.shared_writes import SharedWrites
from bookstore.database import engine as db
from bookstore.database.tables import carts as cart_rows
from bookstore.errors import NotFound, OutOfStock
from bookstore.pricing import Rates
from tests.clock import own_time_s
from tests.counting import count_statements
from tests.factories import NOON, add_book

RATES = Rates("EUR", 290, 4000, 700)


@pytest.fixture
def shared_writes(engine):
    return SharedWrites(engine)


@pytest.fixture
async def dune(engine):
    async with db.transaction(engine) as conn:
        return await add_book(conn, title="Dune", stock=20)


@pytest.fixture
async def solaris(engine):
    async with db.transaction(engine) as conn:
        return await add_book(conn, title="Solaris", stock=20)


async def create_carts(engine, number):
    async with db.transaction(engine) as conn:
        return [await carts.make_guest(conn, now=NOON) for _ in range(number)]


async def put_concurrently(shared_writes, *writes):
    return await asyncio.gather(*map(shared_writes.put, writes), return_exceptions=True)


async def quantities(engine, cart_id):
    async with db.reading(engine) as conn:
        cart = await carts.get(conn, cart_id, RATES)
    return {item.title: item.quantity for item in cart.items}


async def test_thirty_concurrent_cart_changes_take_three_statements(
    engine, shared_writes, dune, solaris
):
    ids = await create_carts(engine, 30)

    with count_statements(engine) as statements:
        answers = await put_concurrently(
            shared_writes, *(CartWrite(it, [dune, solaris][it % 2], 1 + it % 9, True) for it in ids)
        )

    for cart_id, items in zip(ids, answers, strict=True):
        title = ["Dune", "Solaris"][cart_id % 2]
        assert [(item.title, item.quantity) for item in items] == [(title, 1 + cart_id % 9)]
        assert await quantities(engine, cart_id) == {title: 1 + cart_id % 9}
    # Lock, load and write.
    assert len([it for it in statements if "BEGIN" not in it]) == 3


async def test_concurrent_changes_of_one_cart_all_apply(engine, shared_writes, dune, solaris):
    [cart_id] = await create_carts(engine, 1)

    await put_concurrently(
        shared_writes,
        *(CartWrite(cart_id, dune, 2, True) for _ in range(5)),
        CartWrite(cart_id, solaris, 3, False),
        CartWrite(cart_id, solaris, 4, False),
    )

    assert await quantities(engine, cart_id) == {"Dune": 10, "Solaris": 4}


async def test_a_refused_change_does_not_affect_the_others(engine, shared_writes, dune):
    ids = await create_carts(engine, 5)
    async with db.transaction(engine) as conn:
        await conn.execute(delete(cart_rows).where(cart_rows.c.id == ids[2]))

    answers = await put_concurrently(
        shared_writes,
        CartWrite(ids[0], dune, 1, True),
        CartWrite(ids[1], dune, 21, True),
        CartWrite(ids[2], dune, 1, True),
        CartWrite(ids[3], dune + 1000, 1, True),
        CartWrite(ids[4], dune, 2, True),
    )

    refusals = [it for it in answers if isinstance(it, Exception)]
    assert [type(it) for it in refusals] == [OutOfStock, NotFound, NotFound]
    assert await quantities(engine, ids[0]) == {"Dune": 1}
    assert await quantities(engine, ids[1]) == {}
    assert await quantities(engine, ids[4]) == {"Dune": 2}


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
async def test_a_cart_locked_by_another_process_delays_the_batch_once(engine, shared_writes, dune):
    locked, free = await create_carts(engine, 2)
    async with db.transaction(engine) as conn:
        await carts.clear(conn, locked, now=NOON)
        begun_at = own_time_s()
        blocked = asyncio.create_task(shared_writes.put(CartWrite(locked, dune, 1, True)))
        await asyncio.sleep(0)
        await shared_writes.put(CartWrite(free, dune, 1, True))
        # A single lock wait as configured by `make_engine`, not one for each attempt.
        assert own_time_s() - begun_at < 1.8
        with pytest.raises(OperationalError):
            await blocked

    assert await quantities(engine, free) == {"Dune": 1}
