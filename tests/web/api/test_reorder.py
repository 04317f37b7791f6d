"""Reorders: the books of an order are added to the cart, once for each idempotency key."""

import pytest

from bookstore.database.engine import transaction
from bookstore.users.permissions import Role
from tests.factories import add_book
from tests.web.ordering import place
from web.server.keys import ENGINE


@pytest.fixture
async def book(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await add_book(conn, title="Dune", price_cents=1000, stock=5)


async def test_the_books_of_an_order_are_added_to_the_cart_again(client, book):
    order = await (await place(client, book)).json()

    answer = await client.post(
        f"/api/v1/orders/{order['number']}/reorder", params={"access_token": order["access_token"]}
    )

    assert answer.status == 200
    assert [item["book_id"] for item in (await answer.json())["items"]] == [book]


@pytest.mark.parametrize("role", [None, Role.CUSTOMER])
async def test_a_repeated_reorder_adds_nothing_to_the_cart(visitor, book, role):
    buyer = await visitor(role)
    first, second = [await (await place(buyer, book, key)).json() for key in ("k1", "k2")]

    async def reorder(order, key):
        return await buyer.post(
            f"/api/v1/orders/{order['number']}/reorder",
            params={"access_token": order.get("access_token", "")},
            headers={"Idempotency-Key": key},
        )

    answers = [await reorder(first, key) for key in ("again", "again", "once more")]
    other = await reorder(second, "again")

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [(await answer.json())["item_count"] for answer in answers] == [1, 1, 2]
    replayed = [answer.headers.get("Idempotent-Replayed") for answer in answers]
    assert replayed == [None, "true", None]
    assert (other.status, (await other.json())["code"]) == (422, "idempotency-key-reused")
