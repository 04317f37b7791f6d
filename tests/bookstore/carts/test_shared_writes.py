import asyncio

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from bookstore.carts import carts
from bookstore.carts.carts import Put
from bookstore.carts.shared_writes import SharedWrites
from bookstore.database import engine as db
from bookstore.database.tables import carts as cart_rows
from bookstore.errors import NotFound, OutOfStock
from bookstore.pricing import Rates
from tests.clock import own_time_s
from tests.counting import counted
from tests.factories import NOON, add_book

RATES = Rates("EUR", 290, 4000, 700)


@pytest.fixture
def filling(engine):
    return SharedWrites(engine)


@pytest.fixture
async def dune(engine):
    async with db.transaction(engine) as conn:
        return await add_book(conn, title="Dune", stock=20)


@pytest.fixture
async def solaris(engine):
    async with db.transaction(engine) as conn:
        return await add_book(conn, title="Solaris", stock=20)


async def made(engine, number):
    async with db.transaction(engine) as conn:
        return [await carts.make_guest(conn, now=NOON) for _ in range(number)]


async def together(filling, *puts):
    return await asyncio.gather(*map(filling.put, puts), return_exceptions=True)


async def quantities(engine, cart_id):
    async with db.reading(engine) as conn:
        cart = await carts.get(conn, cart_id, RATES)
    return {item.title: item.quantity for item in cart.items}


async def test_thirty_customers_at_once_fill_their_carts_in_a_few_statements(
    engine, filling, dune, solaris
):
    ids = await made(engine, 30)

    with counted(engine) as statements:
        answers = await together(
            filling, *(Put(it, [dune, solaris][it % 2], 1 + it % 9, True) for it in ids)
        )

    for cart_id, items in zip(ids, answers, strict=True):
        title = ["Dune", "Solaris"][cart_id % 2]
        assert [(item.title, item.quantity) for item in items] == [(title, 1 + cart_id % 9)]
        assert await quantities(engine, cart_id) == {title: 1 + cart_id % 9}
    # The lock, the look and the change.
    assert len([it for it in statements if "BEGIN" not in it]) == 3


async def test_changes_of_one_cart_at_once_all_count(engine, filling, dune, solaris):
    [cart_id] = await made(engine, 1)

    await together(
        filling,
        *(Put(cart_id, dune, 2, True) for _ in range(5)),
        Put(cart_id, solaris, 3, False),
        Put(cart_id, solaris, 4, False),
    )

    assert await quantities(engine, cart_id) == {"Dune": 10, "Solaris": 4}


async def test_who_is_refused_leaves_the_others_alone(engine, filling, dune):
    ids = await made(engine, 5)
    async with db.transaction(engine) as conn:
        await conn.execute(delete(cart_rows).where(cart_rows.c.id == ids[2]))

    answers = await together(
        filling,
        Put(ids[0], dune, 1, True),
        Put(ids[1], dune, 21, True),
        Put(ids[2], dune, 1, True),
        Put(ids[3], dune + 1000, 1, True),
        Put(ids[4], dune, 2, True),
    )

    refusals = [it for it in answers if isinstance(it, Exception)]
    assert [type(it) for it in refusals] == [OutOfStock, NotFound, NotFound]
    assert await quantities(engine, ids[0]) == {"Dune": 1}
    assert await quantities(engine, ids[1]) == {}
    assert await quantities(engine, ids[4]) == {"Dune": 2}


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
async def test_a_cart_that_another_process_has_delays_its_neighbours_once(engine, filling, dune):
    theirs, ours = await made(engine, 2)
    async with db.transaction(engine) as conn:
        await carts.clear(conn, theirs, now=NOON)
        begun_at = own_time_s()
        blocked = asyncio.create_task(filling.put(Put(theirs, dune, 1, True)))
        await asyncio.sleep(0)
        await filling.put(Put(ours, dune, 1, True))
        # The one lock wait of `make_engine`, and not one for each try.
        assert own_time_s() - begun_at < 1.8
        with pytest.raises(OperationalError):
            await blocked

    assert await quantities(engine, ours) == {"Dune": 1}
