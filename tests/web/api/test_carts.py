import pytest
from sqlalchemy import func, select

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import carts
from bookstore.users.permissions import Role
from tests.counting import count_statements
from tests.factories import add_book, create_book
from tests.web.conftest import PASSWORD
from web.server.keys import ENGINE


@pytest.fixture
async def book(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await add_book(conn, title="Dune", price_cents=1000, stock=5)


async def put(client, book, quantity=1):
    return await client.post("/api/v1/cart/items", json={"book_id": book, "quantity": quantity})


async def quantities(client):
    cart = await (await client.get("/api/v1/cart")).json()
    return {item["book_id"]: item["quantity"] for item in cart["items"]}


async def test_a_guest_has_a_cart(client, book):
    answer = await put(client, book, 2)

    assert answer.status == 200
    assert "sid" in answer.cookies
    cart = await (await client.get("/api/v1/cart")).json()
    assert cart == await answer.json()
    [item] = cart.pop("items")
    assert set(item) == {
        "book_id", "isbn13", "title", "quantity", "unit_price_cents", "line_total_cents", "stock",
        "problems",
    }  # fmt: skip
    assert (item["quantity"], item["line_total_cents"], item["problems"]) == (2, 2000, [])
    assert cart == {
        "item_count": 2,
        "subtotal_cents": 2000,
        "discount_cents": 0,
        "shipping_cents": 290,
        "tax_cents": 150,
        "total_cents": 2290,
        "currency": "EUR",
    }


async def test_showing_an_empty_cart_does_not_create_one(client, server):
    cart = await (await client.get("/api/v1/cart")).json()
    await client.delete("/api/v1/cart")

    assert (cart["items"], cart["total_cents"]) == ([], 0)
    async with reading(server.app[ENGINE]) as conn:
        assert await conn.scalar(select(func.count()).select_from(carts)) == 0


async def test_guests_do_not_see_each_others_carts(client, visitor, book):
    await put(client, book)

    assert await quantities(await visitor()) == {}


async def test_quantities_add_up_and_can_be_set(client, book):
    await put(client, book, 2)
    await put(client, book, 1)
    assert await quantities(client) == {book: 3}

    await client.put(f"/api/v1/cart/items/{book}", json={"quantity": 5})
    assert await quantities(client) == {book: 5}

    assert (await client.delete(f"/api/v1/cart/items/{book}")).status == 200
    assert await quantities(client) == {}


async def test_a_cart_can_be_emptied(client, book):
    await put(client, book)

    assert (await client.delete("/api/v1/cart")).status == 204
    assert await quantities(client) == {}


async def test_a_quantity_above_the_stock_is_refused(client, book):
    answer = await put(client, book, 6)

    assert answer.status == 409
    problem = await answer.json()
    assert (problem["code"], problem["book_id"], problem["stock"]) == ("out-of-stock", book, 5)
    assert (await put(client, book, 5)).status == 200
    assert (await put(client, book, 1)).status == 409


@pytest.mark.parametrize("quantity", [0, -1, 100, 1.5, 1.0, "1", True, None, 10**30])
async def test_a_quantity_is_a_number_from_1_to_99(client, book, quantity):
    added = await put(client, book, quantity)
    changed = await client.put(f"/api/v1/cart/items/{book}", json={"quantity": quantity})

    assert (added.status, changed.status) == (422, 422)


@pytest.mark.parametrize("book_id", [999_999, 2**63 - 1])
async def test_a_missing_book_cannot_be_added(client, book_id):
    assert (await put(client, book_id)).status == 404


async def test_a_guests_cart_moves_to_the_user(client, visitor, book):
    anna = await visitor(Role.CUSTOMER, "anna@example.com")
    await put(anna, book, 2)
    await put(client, book, 1)

    await client.post("/api/v1/session", json={"email": "anna@example.com", "password": PASSWORD})

    assert await quantities(client) == {book: 3}
    assert await quantities(anna) == {book: 3}
    await client.delete("/api/v1/session")
    assert await quantities(client) == {}


@pytest.mark.parametrize("role", [None, Role.CUSTOMER])
async def test_adding_to_a_cart_takes_few_round_trips(server, visitor, book, role):
    client = await visitor(role)
    await put(client, book)
    engine = server.app[ENGINE]

    with (
        count_statements(engine) as changes,
        count_statements(engine.get_execution_options()["reader"]) as looks,
    ):
        answer = await put(client, book)

    assert answer.status == 200
    # On SQLite both engines share a pool: count each statement once, and no BEGIN.
    both = [it for it in {id(it): it for it in changes + looks}.values() if "BEGIN" not in it]
    # Load the session; lock the cart, read it, change it.  A user's cart must also be found.
    assert len(both) == (4 if role is None else 5)


async def test_a_book_before_its_day_cannot_be_added(visitor, server):
    async with transaction(server.app[ENGINE]) as conn:
        dune = (await create_book(conn, title="Dune", on_sale_from="2099-03")).id
    guest = await visitor()

    answer = await guest.post("/api/v1/cart/items", json={"book_id": dune, "quantity": 1})
    book = await (await guest.get(f"/api/v1/books/{dune}")).json()

    assert (answer.status, (await answer.json())["code"]) == (409, "not-yet-on-sale")
    assert (book["on_sale_from"], book["available"], book["stock"]) == ("2099-03", False, 10)
