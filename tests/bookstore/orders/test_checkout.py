import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import func, insert, select, update

from bookstore import orders
from bookstore.carts import carts
from bookstore.database import engine as db
from bookstore.database.tables import books, cart_items, idempotency_keys, order_lines
from bookstore.database.tables import orders as order_rows
from bookstore.errors import (
    BookWithdrawn,
    CartEmpty,
    IdempotencyKeyReused,
    NotYetOnSale,
    PriceChanged,
    RequestInProgress,
    TooManyCopies,
)
from bookstore.idempotency import Key
from bookstore.operations import doctor
from bookstore.orders.checkout import CheckoutRequest, Checkouts
from bookstore.orders.states import State
from bookstore.pricing import Rates
from tests.factories import NOON, add_book

RATES = Rates("EUR", 290, 4000, 700)


@pytest.fixture
def checkouts(engine):
    return Checkouts(engine, RATES)


@pytest.fixture
async def dune(engine):
    async with db.transaction(engine) as conn:
        return await add_book(conn, title="Dune", price_cents=1000, stock=500)


async def checkout_request(engine, book_id, quantity=1, **facts):
    """A guest's request to order the contents of a cart of its own."""
    async with db.transaction(engine) as conn:
        cart_id = await carts.make_guest(conn, now=NOON)
        if quantity:
            await carts.add(conn, cart_id, book_id, quantity, now=NOON)
    made = CheckoutRequest(
        key=Key(f"cart:{cart_id}", "first"),
        request_hash="a" * 64,
        cart_id=cart_id,
        user_id=None,
        email="mira@example.com",
        shipping_address={"name": "Mira", "country": "DE"},
    )
    return replace(made, **facts)


async def count(engine, table):
    async with db.reading(engine) as conn:
        return await conn.scalar(select(func.count()).select_from(table))


async def test_a_refused_request_does_not_affect_the_others_of_its_group(engine, checkouts, dune):
    requests = [await checkout_request(engine, dune) for _ in range(9)]
    requests[4] = await checkout_request(engine, dune, quantity=0)
    requests[6] = replace(requests[6], expected_total_cents=1)

    outcomes = await asyncio.gather(*map(checkouts.place, requests), return_exceptions=True)

    assert isinstance(outcomes[4], CartEmpty)
    assert isinstance(outcomes[6], PriceChanged)
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 7
    assert await count(engine, order_rows) == 7


async def test_a_repeated_request_gets_the_first_answer_even_after_the_order_changed(
    engine, checkouts, dune
):
    first_request = await checkout_request(engine, dune)
    first = await checkouts.place(first_request)
    async with db.transaction(engine) as conn:
        await orders.cancel(
            conn, first.order.number, actor="guest", by_staff=False, reason=None, now=NOON
        )

    again = await checkouts.place(first_request)

    assert (first.replayed, again.replayed) == (False, True)
    assert again.order == first.order
    assert await count(engine, order_rows) == 1


async def test_a_key_belongs_to_one_request(engine, checkouts, dune):
    first = await checkout_request(engine, dune)
    await checkouts.place(first)

    with pytest.raises(IdempotencyKeyReused):
        await checkouts.place(replace(first, request_hash="b" * 64))


async def test_two_processes_with_one_key_place_one_order(engine, dune):
    """Each process has checkouts of its own, so only the database stands between them."""
    same = await checkout_request(engine, dune)

    outcomes = await asyncio.gather(*(Checkouts(engine, RATES).place(same) for _ in range(5)))

    assert len({outcome.order.number for outcome in outcomes}) == 1
    assert sorted(outcome.replayed for outcome in outcomes) == [False, True, True, True, True]
    assert await count(engine, idempotency_keys) == 1


async def test_a_cart_is_ordered_once_even_under_two_keys(engine, dune):
    first = await checkout_request(engine, dune)
    second = replace(first, key=Key(first.key.owner, "second"))

    outcomes = await asyncio.gather(
        Checkouts(engine, RATES).place(first),
        Checkouts(engine, RATES).place(second),
        return_exceptions=True,
    )

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CartEmpty", "Placed"]
    assert await count(engine, order_rows) == 1


async def test_a_cart_can_be_filled_and_ordered_again(engine, checkouts, dune):
    first = await checkout_request(engine, dune)
    await checkouts.place(first)
    async with db.transaction(engine) as conn:
        await carts.add(conn, first.cart_id, dune, 3, now=NOON)

    second = await checkouts.place(replace(first, key=Key(first.key.owner, "second")))

    assert second.order.items[0].quantity == 3
    assert await count(engine, order_rows) == 2


async def test_a_price_that_changed_after_it_was_shown_is_refused(engine, checkouts, dune):
    agreed = await checkout_request(engine, dune, expected_total_cents=1290)
    async with db.transaction(engine) as conn:
        await conn.execute(update(books).values(price_cents=1100))

    with pytest.raises(PriceChanged) as refusal:
        await checkouts.place(agreed)

    assert (refusal.value.expected_total_cents, refusal.value.total_cents) == (1290, 1390)
    order = (await checkouts.place(replace(agreed, expected_total_cents=1390))).order
    assert order.items[0].unit_price_cents == 1100


async def test_a_withdrawn_book_cannot_be_ordered(engine, checkouts, dune):
    wanted = await checkout_request(engine, dune)
    async with db.transaction(engine) as conn:
        await conn.execute(update(books).values(withdrawn_at=NOON))

    with pytest.raises(BookWithdrawn) as refusal:
        await checkouts.place(wanted)

    assert refusal.value.titles == ["Dune"]
    assert await count(engine, order_lines) == 0


async def test_a_book_cannot_be_ordered_before_its_day(engine, checkouts, dune):
    wanted = await checkout_request(engine, dune)
    async with db.transaction(engine) as conn:
        await conn.execute(update(books).values(on_sale_from="2099-03"))

    with pytest.raises(NotYetOnSale) as refusal:
        await checkouts.place(wanted)

    assert refusal.value.titles == ["Dune"]
    assert await count(engine, order_lines) == 0


async def test_a_book_can_be_ordered_after_its_day(engine, checkouts, dune):
    async with db.transaction(engine) as conn:
        await conn.execute(update(books).values(on_sale_from="2020-03"))

    placed = await checkouts.place(await checkout_request(engine, dune))

    assert placed.order.items[0].title == "Dune"


async def test_a_later_price_change_does_not_change_a_placed_order(engine, checkouts, dune):
    order = (await checkouts.place(await checkout_request(engine, dune))).order
    async with db.transaction(engine) as conn:
        await conn.execute(update(books).values(price_cents=9900, title="Dune, dearer"))

    async with db.reading(engine) as conn:
        assert await orders.get(conn, order.number) == order


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
async def test_a_repeat_during_the_first_request_is_answered_in_progress(engine, dune):
    same = await checkout_request(engine, dune)

    async with db.transaction(engine) as conn:
        # Another process holds the lock on the cart.
        await carts.clear(conn, same.cart_id, now=NOON)
        with pytest.raises(RequestInProgress):
            await Checkouts(engine, RATES).place(same)


async def test_sixty_checkouts_at_once_do_not_mix_their_data(engine, checkouts, dune):
    requests = [
        await checkout_request(engine, dune, quantity=1 + number % 3) for number in range(60)
    ]

    placed = await asyncio.gather(*map(checkouts.place, requests))

    for wanted, outcome in zip(requests, placed, strict=True):
        assert outcome.order.items[0].quantity == 1 + (requests.index(wanted)) % 3
    async with db.reading(engine) as conn:
        assert (await orders.count_by_state(conn))[State.PLACED] == 60
        assert [found async for found in doctor.examine(conn, now=NOON)] == []


async def test_an_order_of_more_than_a_megabyte_is_stored_completely(engine):
    patient = engine.execution_options(timeout_s=60)
    async with db.transaction(patient) as conn:
        long = "x" * 480
        ids = [await add_book(conn, title=f"{number} {long}", stock=9) for number in range(2500)]
        cart_id = await carts.make_guest(conn, now=NOON)
        items = [{"cart_id": cart_id, "book_id": book_id, "quantity": 1} for book_id in ids]
        await conn.execute(insert(cart_items).values(unit_price_cents=1000, added_at=NOON), items)
    wanted = replace(await checkout_request(engine, ids[0]), cart_id=cart_id)

    order = (await Checkouts(patient, RATES).place(wanted)).order

    assert [item.book_id for item in order.items] == ids


async def test_an_order_has_at_most_the_limit_of_each_title(engine, dune):
    checkouts = Checkouts(engine, RATES, limit=2)

    with pytest.raises(TooManyCopies):
        await checkouts.place(await checkout_request(engine, dune, quantity=3))

    assert (await checkouts.place(await checkout_request(engine, dune, quantity=2))).order.items


@pytest.mark.parametrize(("price_cents", "refused"), [(1001, True), (1000, False), (999, False)])
async def test_nobody_pays_more_than_when_the_book_was_put_into_the_cart(
    engine, checkouts, price_cents, refused
):
    async with db.transaction(engine) as conn:
        book_id = await add_book(conn, price_cents=1000, stock=9)
    wanted = await checkout_request(engine, book_id)
    async with db.transaction(engine) as conn:
        await conn.execute(
            update(books).where(books.c.id == book_id).values(price_cents=price_cents)
        )

    if not refused:
        placed = await checkouts.place(wanted)
        assert placed.order.subtotal_cents == price_cents
        return
    with pytest.raises(PriceChanged) as refusal:
        await checkouts.place(wanted)
    total_cents = refusal.value.total_cents
    assert refusal.value.expected_total_cents == total_cents - 1
    agreed = replace(wanted, expected_total_cents=total_cents)
    assert (await checkouts.place(agreed)).order.subtotal_cents == price_cents
