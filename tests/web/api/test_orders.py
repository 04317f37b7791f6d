import asyncio
import json
from dataclasses import replace

import pytest
from sqlalchemy import delete, update

from bookstore import orders
from bookstore.database.engine import reading, transaction
from bookstore.database.tables import books, cart_items, users
from bookstore.database.tables import tasks as task_rows
from bookstore.orders import processing
from bookstore.users.permissions import Role
from config.settings import ShippingRate
from tests.factories import NOON, Trace, add_book
from tests.web.conftest import PASSWORD
from tests.web.mailbox import token_to
from tests.web.ordering import HOME, ORDER, place, put
from web.server.keys import ENGINE, SETTINGS


@pytest.fixture
async def book(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await add_book(conn, title="Dune", price_cents=1000, stock=5)


@pytest.fixture
def work(server):
    """A function that processes an order like the worker."""

    async def process(number):
        async with transaction(server.app[ENGINE]) as conn:
            order = await orders.get(conn, number)
            await processing.process(conn, [order.id], trace=Trace(), now=NOON)

    return process


async def test_a_placed_order_waits_for_the_worker(client, book):
    answer = await place(client, book)

    assert answer.status == 202
    order = await answer.json()
    assert answer.headers["Location"] == f"/api/v1/orders/{order['number']}"
    token = order.pop("access_token")
    assert set(order) == {
        "number", "status", "payment_status", "placed_at", "updated_at", "email", "items",
        "subtotal_cents", "discount_cents", "shipping_cents", "tax_cents", "total_cents",
        "currency", "shipping_address", "reason", "tracking",
    }  # fmt: skip
    assert (order["status"], order["total_cents"]) == ("placed", None)
    assert order["shipping_address"] == {**HOME, "line2": None, "phone": None}
    again = await client.get(answer.headers["Location"], params={"access_token": token})
    assert await again.json() == order
    cart = await (await client.get("/api/v1/cart")).json()
    assert cart["items"] == []


async def test_a_repeat_gets_the_same_response(client, book):
    first = await place(client, book)

    again = await place(client)

    assert (again.status, await again.json()) == (202, await first.json())
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers


async def test_concurrent_repeats_place_one_order(client, book):
    await put(client, book)

    answers = await asyncio.gather(*(place(client) for _ in range(5)))

    assert {answer.status for answer in answers} == {202}
    assert len({(await answer.json())["number"] for answer in answers}) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "käse"])
async def test_an_idempotency_key_is_required(client, book, key):
    answer = await place(client, book, key)

    assert (answer.status, (await answer.json())["code"]) == (400, "idempotency-key-required")


async def test_a_key_is_valid_for_one_request(client, book):
    await place(client, book)

    answer = await place(client, note="leave it at the door")

    assert (answer.status, (await answer.json())["code"]) == (422, "idempotency-key-reused")


async def test_an_empty_cart_cannot_be_ordered(client, book):
    assert (await (await place(client)).json())["code"] == "cart-empty"
    await place(client, book)

    answer = await place(client, key="k2")

    assert (answer.status, (await answer.json())["code"]) == (409, "cart-empty")


async def test_an_order_is_refused_if_the_total_changed(client, server, book):
    await put(client, book)
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(books).values(price_cents=2000))

    answer = await place(client, expected_total_cents=1290)

    assert (answer.status, (await answer.json())["code"]) == (409, "price-changed")
    assert (await place(client, expected_total_cents=2290)).status == 202


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email": "nobody"}, "#/email"),
        ({"email": None}, "#/email"),
        ({"shipping_address": None}, "#/shipping_address"),
        ({"shipping_address": {**HOME, "country": "XX"}}, "#/shipping_address/country"),
        ({"shipping_address": {**HOME, "city": " "}}, "#/shipping_address/city"),
        ({"shipping_address": {**HOME, "planet": "Mars"}}, "#/shipping_address/planet"),
        ({"expected_total_cents": "1290"}, "#/expected_total_cents"),
        ({"note": "x" * 1001}, "#/note"),
        ({"total_cents": 1}, "#/total_cents"),
        ({"user_id": 1}, "#/user_id"),
    ],
)
async def test_an_invalid_order_is_refused(client, book, change, pointer):
    answer = await place(client, book, **change)

    assert answer.status == 422
    assert [fault["pointer"] for fault in (await answer.json())["errors"]] == [pointer]


async def test_a_guest_must_provide_an_email_address(client, book):
    await put(client, book)

    answer = await client.post(
        "/api/v1/orders", json={"shipping_address": HOME}, headers={"Idempotency-Key": "k"}
    )

    assert [fault["pointer"] for fault in (await answer.json())["errors"]] == ["#/email"]


async def test_only_its_customer_and_staff_can_access_an_order(visitor, client, book):
    anna, boris = await visitor(Role.CUSTOMER), await visitor(Role.CUSTOMER)
    order = await (await place(anna, book)).json()
    assert "access_token" not in order
    address = f"/api/v1/orders/{order['number']}"

    for stranger in (boris, client, await visitor(Role.EDITOR)):
        for method, path in [
            ("GET", address), ("GET", f"{address}/events"), ("GET", f"{address}/stream"),
            ("POST", f"{address}/cancel"), ("POST", f"{address}/reorder"),
            ("GET", f"{address}?access_token=guess"),
        ]:  # fmt: skip
            answer = await stranger.request(method, path)
            assert answer.status == 404, path
    for friend in (anna, await visitor(Role.CLERK)):
        assert (await friend.get(address)).status == 200
    assert len((await (await anna.get("/api/v1/orders")).json())["items"]) == 1
    assert (await (await boris.get("/api/v1/orders")).json())["items"] == []


async def test_a_customer_can_cancel_until_the_order_is_packed(visitor, book, work):
    anna, clerk = await visitor(Role.CUSTOMER), await visitor(Role.CLERK)
    first = (await (await place(anna, book)).json())["number"]
    second = (await (await place(anna, book, "k2")).json())["number"]
    await work(second)
    packed = await clerk.post(f"/api/v1/admin/orders/{second}/transitions", json={"to": "packed"})
    assert (await packed.json())["status"] == "packed"

    cancelled = await anna.post(f"/api/v1/orders/{first}/cancel", json={"reason": "too slow"})
    refused = await anna.post(f"/api/v1/orders/{second}/cancel")

    assert (await cancelled.json())["status"] == "cancelled"
    assert (await cancelled.json())["reason"] == "too slow"
    assert (refused.status, (await refused.json())["code"]) == (409, "illegal-transition")
    assert (await clerk.post(f"/api/v1/orders/{second}/cancel")).status == 200


async def test_staff_change_the_status_of_an_order(visitor, book, work):
    anna, manager = await visitor(Role.CUSTOMER), await visitor(Role.MANAGER)
    number = (await (await place(anna, book)).json())["number"]
    await work(number)
    path = f"/api/v1/admin/orders/{number}"

    refused = await manager.post(f"{path}/transitions", json={"to": "shipped"})
    await manager.post(f"{path}/transitions", json={"to": "packed"})
    await manager.post(f"{path}/transitions", json={"to": "shipped", "tracking": "RR1"})
    paid = await manager.post(f"{path}/payment", json={"to": "paid"})

    assert (refused.status, (await refused.json())["code"]) == (409, "illegal-transition")
    order = await (await anna.get(f"/api/v1/orders/{number}")).json()
    assert (order["status"], order["payment_status"]) == ("shipped", "paid")
    assert (order["tracking"], order["total_cents"]) == ("RR1", 1290)
    assert paid.status == 200
    found = await (await manager.get(f"/api/v1/admin/orders?q={number[:6]}")).json()
    assert [item["number"] for item in found["items"]] == [number]


async def read_stream(client, path, **headers):
    events = []
    async with client.get(path, headers=headers) as answer:
        if answer.status == 200:
            assert answer.content_type == "text/event-stream"
            text = (await answer.content.read()).decode()
            for block in text.split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.splitlines())
                if "data" in fields:
                    assert fields["event"] == "status"
                    event = json.loads(fields["data"])
                    assert int(fields["id"]) == event["id"]
                    events.append(event)
        return answer.status, events


async def test_the_stream_of_an_order_ends_with_its_final_status(visitor, book, work):
    anna = await visitor(Role.CUSTOMER)
    number = (await (await place(anna, book)).json())["number"]
    path = f"/api/v1/orders/{number}"

    watching = asyncio.create_task(read_stream(anna, f"{path}/stream"))
    await asyncio.sleep(0.2)  # So that the stream sends the first event alone.
    await work(number)
    await anna.post(f"{path}/cancel")
    status, events = await watching

    assert status == 200
    assert [event["kind"] for event in events] == ["placed", "confirmed", "cancelled"]
    assert [event["id"] for event in events] == [1, 2, 3]
    assert set(events[0]) == {"id", "kind", "at", "actor", "detail"}
    assert events == (await (await anna.get(f"{path}/events")).json())["items"]
    resumed = await read_stream(anna, f"{path}/stream", **{"Last-Event-ID": "1"})
    assert resumed == (200, events[1:])
    assert await read_stream(anna, f"{path}/stream", **{"Last-Event-ID": "3"}) == (204, [])
    garbage = await read_stream(anna, f"{path}/stream", **{"Last-Event-ID": "x" * 50})
    assert garbage == (200, events)


async def test_a_stream_ends_when_an_order_is_delivered(visitor, book, work):
    anna, clerk = await visitor(Role.CUSTOMER), await visitor(Role.CLERK)
    number = (await (await place(anna, book)).json())["number"]
    await work(number)

    async with asyncio.timeout(10):
        watching = asyncio.create_task(read_stream(anna, f"/api/v1/orders/{number}/stream"))
        for to in ("packed", "shipped", "delivered"):
            path = f"/api/v1/admin/orders/{number}/transitions"
            assert (await clerk.post(path, json={"to": to})).status == 200
        status, events = await watching

    assert (status, events[-1]["kind"]) == (200, "delivered")


async def test_a_stream_ends_when_an_order_is_rejected_and_it_can_be_ordered_again(
    visitor, book, work
):
    anna, boris = await visitor(Role.CUSTOMER), await visitor(Role.CUSTOMER)
    await put(anna, book, 5)
    await put(boris, book, 5)
    first = (await (await place(anna)).json())["number"]
    second = (await (await place(boris)).json())["number"]
    path = f"/api/v1/orders/{second}"

    async with asyncio.timeout(10):
        watching = asyncio.create_task(read_stream(boris, f"{path}/stream"))
        await work(first)
        await work(second)
        status, events = await watching
    await anna.post(f"/api/v1/orders/{first}/cancel")
    again = await boris.post(f"{path}/reorder")

    assert (status, [event["kind"] for event in events]) == (200, ["placed", "rejected"])
    order = await (await boris.get(path)).json()
    assert (order["status"], bool(order["reason"])) == ("rejected", True)
    assert (again.status, (await again.json())["item_count"]) == (200, 5)


async def test_orders_are_paginated_and_filtered_by_status(visitor, book):
    anna = await visitor(Role.CUSTOMER)
    numbers = [(await (await place(anna, book, f"k{n}")).json())["number"] for n in range(3)]
    await anna.post(f"/api/v1/orders/{numbers[0]}/cancel")

    first = await (await anna.get("/api/v1/orders?limit=2")).json()
    second = await (await anna.get(f"/api/v1/orders?limit=2&cursor={first['next']}")).json()
    placed = await (await anna.get("/api/v1/orders?status=placed")).json()

    found = [order["number"] for order in first["items"] + second["items"]]
    assert found == numbers[::-1]
    assert second["next"] is None
    assert [order["number"] for order in placed["items"]] == [numbers[2], numbers[1]]


async def test_staff_see_the_tasks_of_placed_orders(visitor, server, book):
    anna, manager = await visitor(Role.CUSTOMER), await visitor(Role.MANAGER)
    await place(anna, book)

    tasks = (await (await manager.get("/api/v1/admin/tasks?state=waiting")).json())["items"]

    assert {task["task"] for task in tasks} == {"process_orders", "send_notifications"}
    task = tasks[0]
    assert (task["state"], task["attempts"]) == ("waiting", 0)
    replayed = await manager.post(f"/api/v1/admin/tasks/{task['id']}/replay")
    assert replayed.status == 200
    path = f"/api/v1/admin/tasks/{task['id']}/discard"
    assert (await manager.post(path)).status == 422
    refused = await manager.post(path, json={"reason": "no use"})
    assert (refused.status, (await refused.json())["code"]) == (409, "task-not-dead")
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(task_rows).values(dead_at=NOON))
    assert (await manager.post(path, json={"reason": "no use"})).status == 204
    assert (await manager.post(path, json={"reason": "no use"})).status == 404
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(delete(task_rows))
    dead = await (await manager.get("/api/v1/admin/tasks?state=dead")).json()
    assert dead == {"items": [], "next": None}


async def test_the_tasks_of_an_order_have_the_id_of_the_request(visitor, server, book):
    anna, manager = await visitor(Role.CUSTOMER), await visitor(Role.MANAGER)
    await put(anna, book)
    await anna.post(
        "/api/v1/orders",
        json=ORDER,
        headers={"Idempotency-Key": "k", "X-Request-ID": "from-click-to-email"},
    )

    tasks = (await (await manager.get("/api/v1/admin/tasks")).json())["items"]

    [task] = [task for task in tasks if task["task"] == "process_orders"]
    kinds = [it["task"] for it in tasks if it["request_id"] == "from-click-to-email"]
    assert sorted(kinds) == ["process_orders", "send_notifications"]
    async with reading(server.app[ENGINE]) as conn:
        assert task["ref_id"] in await orders.by_ids(conn, [task["ref_id"]])


@pytest.fixture
def settings(settings):
    """A store with other shipping costs to Austria that does not ship to Cuba."""
    return replace(settings, countries={"AT": ShippingRate(490, 6000, 1000), "CU": None})


async def test_shipping_and_tax_depend_on_the_country(client, book, work):
    await put(client, book)

    shown = await (await client.get("/api/v1/cart?country=AT")).json()
    stale = await place(
        client,
        shipping_address=HOME | {"country": "AT", "postcode": "4020"},
        expected_total_cents=1290,
    )
    agreed = await place(
        client,
        key="k2",
        shipping_address=HOME | {"country": "AT", "postcode": "4020"},
        expected_total_cents=shown["total_cents"],
    )

    assert (shown["shipping_cents"], shown["total_cents"], shown["tax_cents"]) == (490, 1490, 135)
    assert (stale.status, (await stale.json())["total_cents"]) == (409, 1490)
    order = await agreed.json()
    assert (agreed.status, order["shipping_cents"], order["tax_cents"]) == (202, 490, 135)
    # The worker uses the terms stored with the order.
    await work(order["number"])
    path = f"/api/v1/orders/{order['number']}?access_token={order['access_token']}"
    assert (await (await client.get(path)).json())["total_cents"] == 1490


async def test_the_store_does_not_ship_to_some_countries(client, book):
    await put(client, book)

    refused = await place(client, shipping_address=HOME | {"country": "CU", "postcode": "10400"})
    shown = await client.get("/api/v1/cart?country=CU")
    nowhere = await client.get("/api/v1/cart?country=XX")

    assert (refused.status, (await refused.json())["code"]) == (409, "not-delivered")
    assert (shown.status, (await shown.json())["country"]) == (409, "CU")
    assert (nowhere.status, (await nowhere.json())["errors"][0]["parameter"]) == (422, "country")
    assert (await place(client, key="k2")).status == 202


async def test_a_guests_link_requires_signing_in_after_the_order_is_claimed(
    client, visitor, server, book
):
    order = await (await place(client, book)).json()
    anna, boris = await visitor(Role.CUSTOMER, "anna@example.com"), await visitor(Role.CUSTOMER)
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(users).values(email_verified_at=NOON))
        user_id = (await (await anna.get("/api/v1/users/me")).json())["id"]
        await orders.claim(conn, user_id, now=NOON)

    path = f"/api/v1/orders/{order['number']}"
    with_token = f"{path}?access_token={order['access_token']}"

    assert (await anna.get(path)).status == 200
    assert (await client.get(with_token)).status == 401
    assert (await client.get(f"{path}?access_token=guess")).status == 404
    assert (await boris.get(with_token)).status == 404


async def test_verifying_the_address_claims_the_orders_of_a_guest(client, visitor, server, book):
    number = (await (await place(client, book)).json())["number"]
    anna = await visitor()
    new = {"email": "anna@example.com", "password": PASSWORD, "name": "Anna"}
    await anna.post("/api/v1/users", json=new)
    before = (await (await anna.get("/api/v1/orders")).json())["items"]

    token = await token_to(server, "anna@example.com", "welcome")
    await anna.put(f"/api/v1/email-verifications/{token}")

    assert before == []
    [order] = (await (await anna.get("/api/v1/orders")).json())["items"]
    assert order["number"] == number


async def test_a_password_reset_claims_the_orders_of_a_guest(client, visitor, server, book):
    anna = await visitor(Role.CUSTOMER, "anna@example.com")
    await place(client, book)
    await client.post("/api/v1/password-resets", json={"email": "anna@example.com"})
    token = await token_to(server, "anna@example.com", "reset-password")

    body = {"password": "eight wells deep"}
    assert (await client.put(f"/api/v1/password-resets/{token}", json=body)).status == 204
    await anna.post("/api/v1/session", json={"email": "anna@example.com", **body})

    assert len((await (await anna.get("/api/v1/orders")).json())["items"]) == 1


async def test_staff_find_orders_by_status_and_text(visitor, book):
    anna, clerk = await visitor(Role.CUSTOMER), await visitor(Role.CLERK)
    numbers = [(await (await place(anna, book, f"k{n}")).json())["number"] for n in range(2)]
    await anna.post(f"/api/v1/orders/{numbers[0]}/cancel")

    async def found(query):
        answer = await clerk.get(f"/api/v1/admin/orders?{query}")
        return [order["number"] for order in (await answer.json())["items"]]

    assert await found("status=placed") == [numbers[1]]
    assert await found("status=cancelled&q=dune") == [numbers[0]]
    assert await found("q=anna@") == numbers[::-1]
    assert await found("q=nobody") == []
    assert (await clerk.get("/api/v1/admin/orders?status=lost")).status == 422
    assert (await anna.get("/api/v1/admin/orders")).status == 403


async def test_an_order_has_a_limited_quantity_of_each_title(server, client):
    most = server.app[SETTINGS].max_per_title
    async with transaction(server.app[ENGINE]) as conn:
        book_id = await add_book(conn, title="Emma", stock=100)

    refused = await client.post("/api/v1/cart/items", json={"book_id": book_id, "quantity": 99})
    problem = await refused.json()
    await put(client, book_id, most)
    path = f"/api/v1/cart/items/{book_id}"
    more = await client.put(path, json={"quantity": most + 1})
    # The limit was higher when the book was put into the cart.
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(cart_items).values(quantity=most + 1))
    cart = await (await client.get("/api/v1/cart")).json()
    order = await place(client)

    assert (refused.status, problem["code"], problem["most"]) == (409, "too-many-copies", most)
    assert (more.status, order.status) == (409, 409)
    assert (await order.json())["code"] == "too-many-copies"
    assert f"at most {most}" in cart["items"][0]["problems"][0]
