"""Stock and the ledger of stock movements."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore.catalogue import stock
from bookstore.catalogue.stock import StockReason
from bookstore.database.engine import retry_transaction, transaction
from bookstore.errors import Invalid, NotFound, OutOfStock
from tests.factories import NOON, add_book, add_user


async def test_every_movement_is_recorded_in_the_ledger(conn: AsyncConnection) -> None:
    dune = await add_book(conn, stock=10)
    staff_id = await add_user(conn)

    moved = await stock.move(
        conn, dune, -2, StockReason.DAMAGED, user_id=staff_id, note="wet", now=NOON
    )

    assert await stock.quantity(conn, dune) == 8
    ledger = await stock.movements(conn, dune)
    assert ledger.items[0] == moved
    assert (moved.delta, moved.reason, moved.user_id, moved.note) == (
        -2,
        "damaged",
        staff_id,
        "wet",
    )
    assert sum(movement.delta for movement in ledger.items) == 8


async def test_the_stock_is_never_negative(conn: AsyncConnection) -> None:
    dune = await add_book(conn, stock=1)

    with pytest.raises(OutOfStock) as refusal:
        await stock.move(conn, dune, -2, StockReason.COUNT, now=NOON)

    assert (refusal.value.book_id, refusal.value.stock) == (dune, 1)
    assert await stock.quantity(conn, dune) == 1
    assert len((await stock.movements(conn, dune)).items) == 1


async def test_of_concurrent_movements_of_the_last_copies_one_succeeds(engine: AsyncEngine) -> None:
    async with transaction(engine) as conn:
        dune = await add_book(conn, stock=10)

    async def remove_copies() -> None:
        async with transaction(engine) as conn:
            await stock.move(conn, dune, -7, StockReason.DAMAGED, now=NOON)

    outcomes = await asyncio.gather(
        *(retry_transaction(remove_copies) for _ in range(4)), return_exceptions=True
    )

    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "NoneType",
        "OutOfStock",
        "OutOfStock",
        "OutOfStock",
    ]
    async with transaction(engine) as conn:
        assert await stock.quantity(conn, dune) == 3
        assert sum(m.delta for m in (await stock.movements(conn, dune)).items) == 3


@pytest.mark.parametrize("delta", [0, stock.MAX_QUANTITY + 1, -stock.MAX_QUANTITY - 1, 2**70])
async def test_a_movement_of_zero_or_too_many_copies_is_rejected(
    conn: AsyncConnection, delta: int
) -> None:
    dune = await add_book(conn)

    with pytest.raises(Invalid):
        await stock.move(conn, dune, delta, StockReason.RECEIVED, now=NOON)


async def test_the_stock_of_a_book_has_a_maximum(conn: AsyncConnection) -> None:
    dune = await add_book(conn, stock=1)

    with pytest.raises(Invalid):
        await stock.move(conn, dune, stock.MAX_QUANTITY, StockReason.RECEIVED, now=NOON)

    assert await stock.quantity(conn, dune) == 1


async def test_an_unknown_book_has_no_stock(conn: AsyncConnection) -> None:
    with pytest.raises(NotFound):
        await stock.move(conn, 4711, 1, StockReason.RECEIVED, now=NOON)
    with pytest.raises(NotFound):
        await stock.quantity(conn, 4711)


async def test_the_ledger_is_paginated_newest_first(conn: AsyncConnection) -> None:
    dune = await add_book(conn)
    for delta in (1, 2, 3, 4, 5):
        await stock.move(conn, dune, delta, StockReason.RECEIVED, now=NOON)

    first = await stock.movements(conn, dune, limit=2)
    second = await stock.movements(conn, dune, cursor=first.next, limit=2)
    last = await stock.movements(conn, dune, cursor=second.next, limit=2)

    assert [m.delta for page in (first, second, last) for m in page.items] == [5, 4, 3, 2, 1]
    assert last.next is None
