"""Orders are found by the customer's name, phone number and postcode."""

import pytest
from sqlalchemy import select

from bookstore.backoffice.orders import ORDERS, OrderQuery
from bookstore.database.tables import order_terms
from bookstore.privacy import erasure
from tests.factories import NOON, add_book, add_order, add_user
from tests.ordering import place

ADDRESS = {
    "name": "Zoë Müller-Lüdenscheidt",
    "line1": "Quay 9",
    "city": "Hamburg",
    "postcode": "SW1A 1AA",
    "country": "GB",
}


async def numbers(conn, q):
    return [order.number for order in (await ORDERS.find(conn, OrderQuery(q=q))).items]


@pytest.mark.parametrize(
    "q",
    [
        "Zoë Müller-Lüdenscheidt",
        "ZOE",
        "muller",
        "ludenscheidt zoe",
        "zoemuller",
        "  Zoë   Mül ",
        "SW1A 1AA",
        "sw1a1aa",
        "sw1a",
        "muller sw1a",
        "+49 40 123456",
        "0049 (40) 12 34 56",
        "+49 (0)40 123456",
        "040/123456",
        "40123456",
        "123456",
    ],
)
@pytest.mark.parametrize("phone", ["+49 40 123456", "040 / 12-34-56", "0049 40 123456"])
async def test_an_order_is_found_as_people_type(conn, q, phone):
    await add_order(
        conn,
        {await add_book(conn): 1},
        number="AAAA-1",
        shipping_address=ADDRESS | {"phone": phone},
    )
    await add_order(conn, {await add_book(conn): 1}, number="BBBB-2")

    assert await numbers(conn, q) == ["AAAA-1"]


@pytest.mark.parametrize("q", ["mueller-x", "zoe mira", "999999", "+", "%", "_", "()", "12"])
async def test_other_texts_do_not_find_it(conn, q):
    await add_order(
        conn, {await add_book(conn): 1}, shipping_address=ADDRESS | {"phone": "+49 40 123456"}
    )

    assert await numbers(conn, q) == []


@pytest.mark.parametrize(("name", "other"), [("हिंदी राम", "हिंदू"), ("かき まさお", "かぎ")])
async def test_names_in_other_scripts_keep_their_marks(conn, name, other):
    address = ADDRESS | {"name": name}
    await add_order(conn, {await add_book(conn): 1}, number="AAAA-1", shipping_address=address)

    assert await numbers(conn, name) == ["AAAA-1"]
    assert await numbers(conn, other) == []


async def test_a_placed_order_of_a_guest_has_its_terms(conn):
    order = await place(conn, {await add_book(conn, stock=5): 1})

    assert order.user_id is None
    assert await numbers(conn, order.shipping_address["name"].upper()) == [order.number]
    found = await conn.scalars(select(order_terms.c.order_id).distinct())
    assert list(found) == [order.id]


async def test_an_erasure_removes_the_terms(conn):
    user_id = await add_user(conn, email="zoe@example.com")
    await add_order(
        conn,
        {await add_book(conn): 1},
        user_id=user_id,
        status="cancelled",
        shipping_address=ADDRESS,
    )
    assert await numbers(conn, "muller")

    await erasure.erase(
        conn, user_id, by=user_id, secret_key="x" * 32, invoices_kept_years=10, now=NOON
    )

    assert await numbers(conn, "muller") == []
    assert not list(await conn.scalars(select(order_terms.c.term)))
