import pytest

from bookstore.database.engine import transaction
from bookstore.users.permissions import Role
from tests.factories import add_book
from tests.web.api.sample_data import HOME
from web.server.keys import ENGINE

PATH = "/api/v1/users/me/addresses"


@pytest.fixture
async def anna(visitor):
    return await visitor(Role.CUSTOMER)


async def add(client, **change):
    answer = await client.post(PATH, json=HOME | change)
    assert answer.status == 201
    return await answer.json()


async def order(client, server, key="k", **where):
    async with transaction(server.app[ENGINE]) as conn:
        book = await add_book(conn, stock=5)
    await client.post("/api/v1/cart/items", json={"book_id": book, "quantity": 1})
    return await client.post("/api/v1/orders", json=where, headers={"Idempotency-Key": key})


async def test_an_address_is_added_changed_and_removed(anna):
    added = await anna.post(PATH, json=HOME)
    address = await added.json()
    changed = await anna.patch(f"{PATH}/{address['id']}", json={"city": "Altona", "phone": "1"})
    stored = (await (await anna.get(PATH)).json())["items"]
    removed = await anna.delete(f"{PATH}/{address['id']}")

    assert added.status == 201
    assert added.headers["Location"] == f"{PATH}/{address['id']}"
    assert address == {
        "id": address["id"], **HOME, "line2": None, "phone": None, "is_default": True
    }  # fmt: skip
    assert await changed.json() == address | {"city": "Altona", "phone": "1"}
    assert stored == [address | {"city": "Altona", "phone": "1"}]
    assert removed.status == 204
    assert await (await anna.get(PATH)).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"country": "XX"}, "#/country"),
        ({"country": "de"}, None),
        ({"postcode": None}, "#/postcode"),
        ({"line1": " "}, "#/line1"),
        ({"name": "x" * 201}, "#/name"),
        ({"is_default": "yes"}, "#/is_default"),
        ({"user_id": 1}, "#/user_id"),
        ({"id": 1}, "#/id"),
    ],
)
async def test_the_error_points_to_the_invalid_field_of_an_address(anna, change, pointer):
    address = await add(anna)

    answers = [
        await anna.post(PATH, json=HOME | change),
        await anna.patch(f"{PATH}/{address['id']}", json=change),
    ]

    if pointer is None:
        assert [answer.status for answer in answers] == [201, 200]
        return
    for answer in answers:
        assert answer.status == 422
        assert [fault["pointer"] for fault in (await answer.json())["errors"]] == [pointer]


async def test_an_address_book_has_a_size_limit(anna):
    for number in range(20):
        await add(anna, line1=f"Quay {number}")

    answer = await anna.post(PATH, json=HOME)

    assert (answer.status, (await answer.json())["code"]) == (409, "address-book-full")


async def test_a_repeated_request_adds_an_address_once(anna):
    first = await anna.post(PATH, json=HOME, headers={"Idempotency-Key": "k"})
    again = await anna.post(PATH, json=HOME, headers={"Idempotency-Key": "k"})

    assert (again.status, await again.json()) == (201, await first.json())
    assert again.headers["Location"] == first.headers["Location"]
    assert len((await (await anna.get(PATH)).json())["items"]) == 1


async def test_an_order_goes_to_an_address_of_the_address_book(anna, server):
    address = await add(anna, line2="Second floor")

    placed = await (await order(anna, server, address_id=address["id"])).json()
    await anna.patch(f"{PATH}/{address['id']}", json={"line1": "Elsewhere 1"})

    assert placed["shipping_address"] == HOME | {"line2": "Second floor", "phone": None}
    shown = await (await anna.get(f"/api/v1/orders/{placed['number']}")).json()
    assert shown["shipping_address"]["line1"] == "Quay 9"


async def test_an_order_has_exactly_one_address(anna, server):
    address = await add(anna)

    both = await order(anna, server, address_id=address["id"], shipping_address=HOME)
    none = await order(anna, server)

    for answer in (both, none):
        assert answer.status == 422
        [fault] = (await answer.json())["errors"]
        assert fault["pointer"] == "#/shipping_address"


async def test_the_address_of_another_user_returns_404_like_a_missing_one(visitor, anna, server):
    address = await add(anna)
    boris, guest = await visitor(Role.CUSTOMER), await visitor()

    for address_id in (address["id"], 999_999):
        path = f"{PATH}/{address_id}"
        answers = [
            await boris.patch(path, json={"line1": "Mine"}),
            await boris.delete(path),
            await order(boris, server, key=f"k{address_id}", address_id=address_id),
            await order(
                guest, server, key=f"k{address_id}", address_id=address_id, email="g@example.com"
            ),
        ]
        assert [answer.status for answer in answers] == [404] * 4
        problems = [await answer.json() for answer in answers]
        assert {problem["detail"] for problem in problems} == {"This address could not be found."}

    assert (await (await anna.get(PATH)).json())["items"] == [address]
