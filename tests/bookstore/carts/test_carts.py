from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from bookstore.carts import carts
from bookstore.database.tables import book_stock, books, cart_items
from bookstore.database.tables import carts as cart_rows
from bookstore.errors import (
    CartFull,
    Invalid,
    NotFound,
    NotYetOnSale,
    OutOfStock,
    TooManyCopies,
)
from bookstore.operations import housekeeping
from bookstore.pricing import Rates
from tests.factories import NOON, add_book, add_user

RATES = Rates("EUR", 290, 4000, 700)


@pytest.fixture
async def cart_id(conn):
    return await carts.make_guest(conn, now=NOON)


async def quantities(conn, cart_id):
    cart = await carts.get(conn, cart_id, RATES)
    return {item.title: item.quantity for item in cart.items}


async def test_quantities_of_one_book_add_up(conn, cart_id):
    dune = await add_book(conn, title="Dune", stock=5)

    await carts.add(conn, cart_id, dune, 2, now=NOON)
    await carts.add(conn, cart_id, dune, 3, now=NOON)

    assert await quantities(conn, cart_id) == {"Dune": 5}


async def test_a_quantity_above_the_stock_is_refused(conn, cart_id):
    dune = await add_book(conn, title="Dune", stock=2)
    await carts.add(conn, cart_id, dune, 1, now=NOON)

    with pytest.raises(OutOfStock) as refusal:
        await carts.add(conn, cart_id, dune, 2, now=NOON)

    assert refusal.value.stock == 2
    assert await quantities(conn, cart_id) == {"Dune": 1}


@pytest.mark.parametrize("quantity", [0, -1, 100])
async def test_a_quantity_is_between_1_and_99(conn, cart_id, quantity):
    dune = await add_book(conn, stock=500)

    with pytest.raises(Invalid):
        await carts.add(conn, cart_id, dune, quantity, now=NOON)


@pytest.mark.parametrize("day", ["2099", "2099-12", "2099-12-31"])
async def test_a_book_is_not_put_into_a_cart_before_its_day(conn, cart_id, day):
    dune = await add_book(conn, title="Dune", stock=5)
    await conn.execute(update(books).values(on_sale_from=day))

    with pytest.raises(NotYetOnSale) as refusal:
        await carts.add(conn, cart_id, dune, 1, now=NOON)

    assert refusal.value.titles == ["Dune"]
    again = await carts.add_again(conn, cart_id, [(dune, "Dune", 1)], now=NOON)
    assert again == ["Dune is not on sale yet."]
    assert await quantities(conn, cart_id) == {}


async def test_a_book_in_a_cart_that_is_postponed_blocks_the_checkout(conn, cart_id):
    dune = await add_book(conn, stock=5)
    await carts.add(conn, cart_id, dune, 1, now=NOON)
    await conn.execute(update(books).values(on_sale_from="2099"))

    (item,) = (await carts.get(conn, cart_id, RATES)).items

    assert item.blocks_checkout
    assert item.problems == ["This book is not on sale yet. Please remove it."]


async def test_a_withdrawn_book_cannot_be_added_to_a_cart(conn, cart_id):
    dune = await add_book(conn, stock=5)
    await conn.execute(update(books).values(withdrawn_at=NOON))

    with pytest.raises(NotFound):
        await carts.add(conn, cart_id, dune, 1, now=NOON)


async def test_the_total_of_a_cart_includes_shipping_and_shows_the_tax(conn, cart_id):
    await carts.add(conn, cart_id, await add_book(conn, price_cents=1290, stock=5), 2, now=NOON)

    totals = (await carts.get(conn, cart_id, RATES)).totals

    assert (totals.subtotal_cents, totals.shipping_cents) == (2580, 290)
    assert (totals.total_cents, totals.tax_cents) == (2870, 188)


async def test_a_large_cart_ships_for_free_and_an_empty_cart_costs_nothing(conn, cart_id):
    empty = (await carts.get(conn, cart_id, RATES)).totals
    await carts.add(conn, cart_id, await add_book(conn, price_cents=4000, stock=5), 1, now=NOON)

    assert empty.total_cents == 0
    assert (await carts.get(conn, cart_id, RATES)).totals.total_cents == 4000


async def test_an_item_shows_what_has_changed_since_it_was_added(conn, cart_id):
    dune = await add_book(conn, title="Dune", price_cents=1000, stock=5)
    await carts.add(conn, cart_id, dune, 3, now=NOON)
    await conn.execute(update(books).values(price_cents=1100))
    await conn.execute(update(book_stock).values(stock=2))

    (item,) = (await carts.get(conn, cart_id, RATES)).items

    assert (item.unit_price_cents, item.old_price_cents) == (1100, 1000)
    assert item.problems == [
        "Quantity 3, but only 2 in stock.",
        "The price has increased since you added this book.",
    ]


async def test_a_withdrawn_book_stays_in_the_cart_but_costs_nothing(conn, cart_id):
    await carts.add(conn, cart_id, await add_book(conn, stock=5), 1, now=NOON)
    await conn.execute(update(books).values(withdrawn_at=NOON))

    cart = await carts.get(conn, cart_id, RATES)

    assert cart.items[0].problems == ["This book is no longer available. Please remove it."]
    assert cart.totals.total_cents == 0


async def test_sign_in_merges_the_carts_up_to_the_stock(conn, cart_id):
    dune = await add_book(conn, title="Dune", stock=3)
    emma = await add_book(conn, title="Emma", stock=9)
    user_id = await add_user(conn)
    own = await carts.of_user(conn, user_id, now=NOON)
    await carts.add(conn, own, dune, 2, now=NOON)
    await carts.add(conn, cart_id, dune, 2, now=NOON)
    await carts.add(conn, cart_id, emma, 1, now=NOON)

    messages = await carts.merge(conn, cart_id, user_id, now=NOON)

    assert await quantities(conn, own) == {"Dune": 3, "Emma": 1}
    assert messages == [
        "Dune: only 3 in stock, so the quantity is 3.",
        "Emma was added to your cart.",
    ]


async def test_the_id_of_a_deleted_cart_is_never_reused(conn):
    user_id = await add_user(conn)
    await carts.of_user(conn, user_id, now=NOON)
    guest = await carts.make_guest(conn, now=NOON)
    await carts.merge(conn, guest, user_id, now=NOON)

    assert await carts.make_guest(conn, now=NOON) > guest


async def test_a_user_has_one_cart(conn):
    user_id = await add_user(conn)

    first = await carts.of_user(conn, user_id, now=NOON)

    assert await carts.of_user(conn, user_id, now=NOON) == first
    assert len((await conn.execute(select(cart_rows))).all()) == 1


async def test_the_number_of_different_books_in_a_cart_is_limited(conn):
    cart_id = await carts.make_guest(conn, now=NOON)
    books = [await add_book(conn, stock=2) for _ in range(carts.MAX_BOOKS + 1)]
    for book in books[:-1]:
        await carts.add(conn, cart_id, book, 1, now=NOON)

    with pytest.raises(CartFull):
        await carts.add(conn, cart_id, books[-1], 1, now=NOON)

    await carts.add(conn, cart_id, books[0], 1, now=NOON)
    messages = await carts.add_again(conn, cart_id, [(books[-1], "Emma", 1)], now=NOON)
    assert messages == [f"Emma was not added to your cart. {CartFull(carts.MAX_BOOKS)}"]
    assert (await carts.get(conn, cart_id, RATES)).item_count == carts.MAX_BOOKS + 1


async def test_guest_carts_are_deleted_after_thirty_days_and_user_carts_are_kept(conn):
    dune, anna = await add_book(conn, stock=9), await add_user(conn)
    late = NOON + carts.GUEST_CART_LIFETIME
    old = await carts.make_guest(conn, now=NOON - timedelta(seconds=1))
    young = await carts.make_guest(conn, now=NOON)
    own = await carts.of_user(conn, anna, now=NOON - timedelta(days=400))
    await conn.execute(
        insert(cart_items),
        [
            {
                "cart_id": cart_id,
                "book_id": dune,
                "quantity": 1,
                "unit_price_cents": 1,
                "added_at": NOON,
            }
            for cart_id in (old, young, own)
        ],
    )

    await housekeeping.run(conn, now=late)

    left = (await conn.scalars(select(cart_items.c.cart_id).order_by(cart_items.c.cart_id))).all()
    assert left == [young, own]
    assert await carts.purge(conn, now=late) == 0


async def test_a_cart_has_at_most_the_limit_of_each_title(conn, cart_id):
    dune, emma = await add_book(conn, title="Dune", stock=99), await add_book(conn, stock=99)
    await carts.add(conn, cart_id, dune, 5, limit=5, now=NOON)

    with pytest.raises(TooManyCopies) as refusal:
        await carts.add(conn, cart_id, dune, 1, limit=5, now=NOON)
    await carts.add(conn, cart_id, emma, 5, limit=5, now=NOON)

    assert (refusal.value.most, refusal.value.book_title) == (5, "Dune")
    assert (await carts.get(conn, cart_id, RATES)).item_count == 10


@pytest.mark.parametrize("way", ["reorder", "merge"])
async def test_no_other_way_into_the_cart_passes_the_limit(conn, cart_id, way):
    user_id = await add_user(conn)
    own = await carts.of_user(conn, user_id, now=NOON)
    dune = await add_book(conn, title="Dune", stock=99)
    await carts.add(conn, own, dune, 4, limit=5, now=NOON)
    await carts.add(conn, cart_id, dune, 4, limit=5, now=NOON)

    if way == "merge":
        (message,) = await carts.merge(conn, cart_id, user_id, limit=5, now=NOON)
    else:
        (message,) = await carts.add_again(conn, own, [(dune, "Dune", 4)], limit=5, now=NOON)

    assert message == "Dune: you can order at most 5, so the quantity is 5."
    assert await quantities(conn, own) == {"Dune": 5}


async def test_a_lower_limit_blocks_what_is_in_the_cart_already(conn, cart_id):
    await carts.add(conn, cart_id, await add_book(conn, stock=99), 9, now=NOON)

    (item,) = (await carts.get(conn, cart_id, RATES, limit=5)).items

    assert item.blocks_checkout
    assert "You can order at most 5 of this book." in item.problems
