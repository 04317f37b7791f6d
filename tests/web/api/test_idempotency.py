import asyncio

import pytest
from sqlalchemy import func, select, update

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import books, carts, stock_movements
from bookstore.idempotency import Key, claim
from bookstore.users.permissions import Role
from tests.factories import NOON, add_book, add_order
from tests.web.api.sample_data import DUNE
from tests.web.conftest import PASSWORD
from tests.web.ordering import HOME, place, put
from web.api import routes
from web.api.operations import operation_of
from web.server.keys import ENGINE

KEY = {"Idempotency-Key": "only once"}


@pytest.fixture
async def editor(visitor):
    return await visitor(Role.EDITOR)


@pytest.fixture
async def manager(visitor):
    return await visitor(Role.MANAGER)


async def test_a_repeated_request_creates_a_book_once(editor):
    first = await editor.post("/api/v1/books", json=DUNE, headers=KEY)
    second = await editor.post("/api/v1/books", json=DUNE, headers=KEY)

    assert (first.status, second.status) == (201, 201)
    assert await first.json() == await second.json()
    assert first.headers["Location"] == second.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"


async def test_without_a_key_every_request_is_new(editor):
    first = await editor.post("/api/v1/books", json=DUNE)
    second = await editor.post("/api/v1/books", json=DUNE)

    assert (first.status, second.status) == (201, 409)


async def test_a_key_is_valid_for_one_request(editor):
    await editor.post("/api/v1/books", json=DUNE, headers=KEY)

    other = await editor.post("/api/v1/books", json={**DUNE, "title": "Dune II"}, headers=KEY)

    assert (other.status, (await other.json())["code"]) == (422, "idempotency-key-reused")


async def test_a_key_is_scoped_to_one_route_and_one_user(editor, manager):
    book = await (await editor.post("/api/v1/books", json=DUNE, headers=KEY)).json()

    category = await editor.post("/api/v1/categories", json={"name": "Space"}, headers=KEY)
    another = await manager.post("/api/v1/categories", json={"name": "Time"}, headers=KEY)

    assert (category.status, another.status) == (201, 201)
    assert (await another.json())["name"] == "Time"
    assert (await editor.get(f"/api/v1/books/{book['id']}")).status == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
async def test_an_invalid_key_is_refused(editor, key):
    answer = await editor.post("/api/v1/books", json=DUNE, headers={"Idempotency-Key": key})

    assert answer.status == 400
    assert (await answer.json())["code"] == "idempotency-key-required"


async def test_a_refused_request_does_not_use_its_key(editor):
    refused = await editor.post("/api/v1/books", json={**DUNE, "isbn13": "7"}, headers=KEY)

    made = await editor.post("/api/v1/books", json=DUNE, headers=KEY)

    assert (refused.status, made.status) == (422, 201)


async def test_a_repeated_stock_movement_is_made_once(editor):
    book = await (await editor.post("/api/v1/books", json=DUNE)).json()
    address = f"/api/v1/books/{book['id']}/stock-movements"
    movement = {"delta": 5, "reason": "received"}

    first = await editor.post(address, json=movement, headers=KEY)
    second = await editor.post(address, json=movement, headers=KEY)

    assert await first.json() == await second.json()
    assert (await second.json())["stock"] == DUNE["stock"] + 5


async def test_a_renamed_category_is_found_by_its_key(editor):
    made = await editor.post("/api/v1/categories", json={"name": "Space"}, headers=KEY)
    await editor.patch("/api/v1/categories/space", json={"slug": "sky"}, headers={"If-Match": "*"})

    again = await editor.post("/api/v1/categories", json={"name": "Space"}, headers=KEY)

    assert made.status == again.status == 201
    assert (await again.json())["slug"] == "sky"


async def test_a_repeated_message_is_sent_once(manager):
    me = await (await manager.get("/api/v1/users/me")).json()
    message = {"user_id": me["id"], "subject": "Hello", "body": "Your book is here."}

    first = await manager.post("/api/v1/notifications", json=message, headers=KEY)
    second = await manager.post("/api/v1/notifications", json=message, headers=KEY)

    assert (first.status, second.status) == (202, 202)
    assert (await first.json())["id"] == (await second.json())["id"]


async def test_every_response_to_a_repeat_is_marked(manager, editor):
    book = await (await editor.post("/api/v1/books", json=DUNE)).json()
    me = await (await manager.get("/api/v1/users/me")).json()
    bodies = {
        "users/me/addresses": HOME,
        f"books/{book['id']}/stock-movements": {"delta": 1, "reason": "count"},
        "categories": {"name": "Space"},
        "notifications": {"user_id": me["id"], "subject": "Hello", "body": "It is here."},
    }

    for address, body in bodies.items():
        first, second = [
            await manager.post(f"/api/v1/{address}", json=body, headers=KEY) for _ in range(2)
        ]
        assert first.status == second.status == (202 if address == "notifications" else 201)
        assert "Idempotent-Replayed" not in first.headers
        assert second.headers.get("Idempotent-Replayed") == "true", address
        assert await second.json() == await first.json()


async def test_concurrent_repeats_create_one_book(editor, server):
    answers = await asyncio.gather(
        *(editor.post("/api/v1/books", json=DUNE, headers=KEY) for _ in range(10))
    )

    assert {answer.status for answer in answers} <= {201, 409}
    made = [await answer.json() for answer in answers if answer.status == 201]
    refused = [await answer.json() for answer in answers if answer.status == 409]
    assert len({book["id"] for book in made}) == 1
    assert {problem["code"] for problem in refused} <= {"request-in-progress"}
    async with reading(server.app[ENGINE]) as conn:
        assert await conn.scalar(select(func.count()).select_from(books)) == 1
        assert await conn.scalar(select(func.count()).select_from(stock_movements)) == 1


async def test_a_repeat_during_the_first_request_is_refused(server, editor):
    engine = server.app[ENGINE]
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer: the second request waits for the first and replays it")
    me = await (await editor.get("/api/v1/users/me")).json()
    async with transaction(engine) as conn:
        await claim(conn, Key(f"user:{me['id']} books", KEY["Idempotency-Key"]), "-", now=NOON)

        answer = await editor.post("/api/v1/books", json=DUNE, headers=KEY)

    assert (answer.status, (await answer.json())["code"]) == (409, "request-in-progress")
    assert answer.headers["Retry-After"] == "1"


@pytest.fixture
async def book(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await add_book(conn, title="Dune", price_cents=1000, stock=9)


ACCOUNT = {"email": "anna@example.com", "password": PASSWORD}


@pytest.mark.parametrize("how", ["register", "sign in"])
async def test_a_guests_key_stays_valid_after_signing_in(visitor, book, how):
    guest = await visitor()
    if how == "sign in":
        earlier = await visitor(Role.CUSTOMER, ACCOUNT["email"])
        await put(earlier, book, 2)  # A repeat must not order the items in the cart of the account.
    first = await place(guest, book, key="lost answer")
    await put(guest, book)

    if how == "sign in":
        await guest.post("/api/v1/session", json=ACCOUNT)
    else:
        await guest.post("/api/v1/users", json={**ACCOUNT, "name": "Anna"})
    again = await place(guest, key="lost answer")
    other = await place(guest, key="lost answer", note="another order")

    assert (again.status, await again.json()) == (202, await first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status, (await other.json())["code"]) == (422, "idempotency-key-reused")
    cart = await (await guest.get("/api/v1/cart")).json()
    assert cart["item_count"] == (3 if how == "sign in" else 1)


async def test_a_guests_reorder_is_not_repeated_after_signing_in(visitor, book):
    guest = await visitor()
    order = await (await place(guest, book)).json()

    async def reorder():
        answer = await guest.post(
            f"/api/v1/orders/{order['number']}/reorder",
            params={"access_token": order["access_token"]},
            headers=KEY,
        )
        return answer.status, (await answer.json())["item_count"]

    before = await reorder()
    await guest.post("/api/v1/users", json={**ACCOUNT, "name": "Anna"})

    assert before == await reorder() == (200, 1)


async def test_a_used_key_of_the_user_takes_precedence_over_the_guests(visitor, book):
    anna, guest = await visitor(Role.CUSTOMER, ACCOUNT["email"]), await visitor()
    own = await (await place(anna, book, key="same")).json()
    await place(guest, book, key="same")

    await guest.post("/api/v1/session", json=ACCOUNT)

    assert (await (await place(guest, key="same")).json())["number"] == own["number"]


async def test_a_users_keys_do_not_apply_after_signing_out(visitor, book):
    anna = await visitor(Role.CUSTOMER)
    own = await (await place(anna, book, key="same")).json()

    await anna.delete("/api/v1/session")
    nothing = await place(anna, key="same")
    new = await place(anna, book, key="same")

    assert (nothing.status, (await nothing.json())["code"]) == (409, "cart-empty")
    assert new.status == 202
    assert (await new.json())["number"] != own["number"]


@pytest.mark.parametrize("key", ["k", "x" * 255])
async def test_a_key_has_1_to_255_characters(client, book, key):
    placed = await place(client, book, key=key)
    again = await place(client, key=key)

    assert (placed.status, again.status) == (202, 202)
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(("busy_s", "in_time"), [(0.2, True), (1.6, False)])
async def test_a_repeat_waits_a_second_for_the_first(visitor, server, book, busy_s, in_time):
    anna = await visitor(Role.CUSTOMER)
    await put(anna, book)

    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(
            update(carts).values(updated_at=NOON)
        )  # Locks the carts, so checkouts wait.
        first = asyncio.create_task(place(anna))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(place(anna))
        await asyncio.wait([second], timeout=busy_s)
    answers = [await first, await second]
    refused = [answer for answer in answers if answer.status != 202]

    assert bool(refused) is not in_time
    for answer in refused:
        assert (answer.status, (await answer.json())["code"]) == (409, "request-in-progress")
        assert answer.headers["Retry-After"] == "1"
    assert (await place(anna)).status == 202
    assert len((await (await anna.get("/api/v1/orders")).json())["items"]) == 1


POSTS = [route for route in routes.OPERATIONS if route.method == "POST"]


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.path)
def test_each_post_recognises_a_repeat_or_refuses_the_key(route):
    """One of three; `repeatable` is tested below for each of its operations."""
    operation = operation_of(route.handler)

    assert not (operation.takes_key and operation.repeatable)
    if not operation.takes_key:
        assert operation.name in REFUSING | REPEATABLE


#: Their responses have secrets, or a form of protection against repeats of its own.
REFUSING = {"sign_in", "create_token", "begin_totp"}
REFUSING |= {"request_password_reset", "send_email_verification"}
REPEATABLE = {"read_notification", "replay_task"}


@pytest.mark.parametrize("path", ["session", "password-resets", "users/me/tokens", "users/me/totp"])
async def test_a_key_is_refused_where_a_repeat_is_not_recognised(visitor, path):
    anna = await visitor(Role.CUSTOMER)

    answer = await anna.post(f"/api/v1/{path}", json={}, headers=KEY)

    assert (answer.status, (await answer.json())["code"]) == (400, "idempotency-key-not-supported")


async def test_a_repeated_request_adds_to_the_cart_once(visitor, server):
    async with transaction(server.app[ENGINE]) as conn:
        book = await add_book(conn, stock=50)
    anna = await visitor(Role.CUSTOMER)
    item = {"book_id": book, "quantity": 2}

    answers = await asyncio.gather(
        *(anna.post("/api/v1/cart/items", json=item, headers=KEY) for _ in range(10))
    )
    other = await anna.post("/api/v1/cart/items", json={**item, "quantity": 3}, headers=KEY)
    cart = await (await anna.get("/api/v1/cart")).json()

    assert {answer.status for answer in answers} <= {200, 409}
    assert sum("Idempotent-Replayed" not in it.headers for it in answers if it.status == 200) == 1
    assert (other.status, (await other.json())["code"]) == (422, "idempotency-key-reused")
    assert [it["quantity"] for it in cart["items"]] == [2]


async def test_the_repeat_of_a_change_gets_the_first_answer(visitor, server):
    """Cancelling, packing, paying and registering: without a key, a repeat is a 409."""
    async with transaction(server.app[ENGINE]) as conn:
        book = await add_book(conn, stock=50)
        for number in ("0001-TEST", "0002-TEST", "0003-TEST"):
            await add_order(conn, {book: 1}, number=number, status="confirmed")
    admin, guest = await visitor(Role.ADMIN), await visitor(None)
    sent = [
        (admin, "orders/0001-TEST/cancel", {"reason": "Two."}),
        (admin, "admin/orders/0002-TEST/transitions", {"to": "packed"}),
        (admin, "admin/orders/0003-TEST/payment", {"to": "paid"}),
        (guest, "users", {"email": "zoe@example.com", "name": "Zoe", "password": PASSWORD}),
    ]
    for client, path, body in sent:
        first = await client.post(f"/api/v1/{path}", json=body, headers=KEY)
        second = await client.post(f"/api/v1/{path}", json=body, headers=KEY)
        third = await client.post(f"/api/v1/{path}", json=body)

        assert first.ok, await first.text()
        assert (second.status, third.status) == (first.status, 409), path
        assert await second.json() == await first.json()
        assert second.headers["Idempotent-Replayed"] == "true"


async def test_a_registered_address_is_revealed_to_nobody_else_by_a_key(visitor):
    guest, stranger = await visitor(None), await visitor(None)
    body = {"email": "zoe@example.com", "name": "Zoe", "password": PASSWORD}
    await guest.post("/api/v1/users", json=body, headers=KEY)

    wrong = await stranger.post(
        "/api/v1/users", json={**body, "password": "another long password"}, headers=KEY
    )
    other_key = await stranger.post("/api/v1/users", json=body, headers={"Idempotency-Key": "2"})

    assert (wrong.status, other_key.status) == (409, 409)
    assert (await stranger.get("/api/v1/users/me")).status == 401
