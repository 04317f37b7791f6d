"""Responses have exactly the fields of the contract."""

import re

from aiohttp import FormData

from bookstore.database.engine import transaction
from bookstore.users.permissions import Role
from tests.factories import add_book
from web.server.keys import ENGINE

ME = "/api/v1/users/me"
ADDRESS = {"name": "Anna", "line1": "Elm 1", "city": "Kiel", "postcode": "24103", "country": "DE"}


async def test_a_session_does_not_contain_its_secret(visitor):
    anna = await visitor(Role.CUSTOMER)

    (device,) = (await (await anna.get(f"{ME}/sessions")).json())["items"]

    assert set(device) == {
        "id", "address", "user_agent", "created_at", "last_seen_at", "current",
    }  # fmt: skip
    assert device["current"] is True


async def test_setting_up_a_second_factor_returns_the_secret_and_its_uri(visitor):
    anna = await visitor(Role.CUSTOMER)

    begun = await (await anna.post(f"{ME}/totp")).json()

    assert set(begun) == {"secret", "uri"}
    assert re.match(r"otpauth://totp/.*[?&]secret=" + begun["secret"], begun["uri"])


async def test_an_import_has_the_fields_of_a_job_and_of_what_was_read(visitor):
    editor = await visitor(Role.EDITOR)

    sent = FormData()
    sent.add_field("file", b"isbn,title,authors,price\n", filename="books.csv")
    answer = await editor.post("/api/v1/imports", data=sent)

    assert answer.status == 202
    assert set(await answer.json()) == {
        "id", "state", "progress", "error", "user_id", "created_at", "started_at", "updated_at",
        "finished_at", "dry_run", "read", "created", "updated", "unchanged", "refused", "format",
        "encoding", "separator", "columns", "ignored_columns", "rules",
    }  # fmt: skip


async def test_a_withdrawn_book_is_a_problem_of_its_item_and_stops_the_checkout(visitor, server):
    async with transaction(server.app[ENGINE]) as conn:
        book_id = await add_book(conn, title="Dune", price_cents=1000, stock=5)
    guest, editor = await visitor(), await visitor(Role.EDITOR)
    await guest.post("/api/v1/cart/items", json={"book_id": book_id, "quantity": 2})
    etag = (await editor.get(f"/api/v1/books/{book_id}")).headers["ETag"]
    gone = await editor.delete(f"/api/v1/books/{book_id}", headers={"If-Match": etag})
    assert gone.status == 204

    cart = await (await guest.get("/api/v1/cart")).json()
    order = {"email": "a@example.com", "shipping_address": ADDRESS}
    answer = await guest.post("/api/v1/orders", json=order, headers={"Idempotency-Key": "k"})

    (line,) = cart["items"]
    assert line["problems"] == ["This book is no longer available. Please remove it."]
    assert (line["quantity"], cart["total_cents"]) == (2, 0)
    assert (answer.status, (await answer.json())["code"]) == (409, "book-withdrawn")
    again = await guest.post("/api/v1/cart/items", json={"book_id": book_id, "quantity": 1})
    assert again.status == 404
    assert await (await guest.get("/api/v1/cart")).json() == cart


async def test_a_withdrawn_book_stays_in_the_orders_it_is_in(visitor, server):
    async with transaction(server.app[ENGINE]) as conn:
        book_id = await add_book(conn, title="Dune", price_cents=1000, stock=5)
    anna, editor = await visitor(Role.CUSTOMER), await visitor(Role.EDITOR)
    await anna.post("/api/v1/cart/items", json={"book_id": book_id, "quantity": 2})
    body = {"shipping_address": ADDRESS}
    placed = await anna.post("/api/v1/orders", json=body, headers={"Idempotency-Key": "k"})
    number = (await placed.json())["number"]

    await editor.delete(f"/api/v1/books/{book_id}", headers={"If-Match": "*"})

    order = await (await anna.get(f"/api/v1/orders/{number}")).json()
    (line,) = order["items"]
    assert (line["book_id"], line["title"], line["quantity"]) == (book_id, "Dune", 2)
    assert "Dune" in await (await anna.get(f"/orders/{number}")).text()


async def test_an_order_number_has_sixty_random_bits(visitor, server):
    async with transaction(server.app[ENGINE]) as conn:
        book_id = await add_book(conn, stock=5)
    anna, numbers = await visitor(Role.CUSTOMER), set()
    for key in ("one", "two", "three"):
        await anna.post("/api/v1/cart/items", json={"book_id": book_id, "quantity": 1})
        placed = await anna.post(
            "/api/v1/orders", json={"shipping_address": ADDRESS}, headers={"Idempotency-Key": key}
        )
        numbers.add((await placed.json())["number"])

    assert len(numbers) == 3
    for number in numbers:
        assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}", number)
