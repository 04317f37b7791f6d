"""Guests who order again and again, and links in names: attacks on a stranger's mailbox."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from bookstore.database.engine import transaction
from bookstore.database.tables import notifications, orders
from bookstore.users import addresses
from bookstore.users.permissions import Role
from tests.factories import add_book
from tests.web.conftest import PASSWORD
from tests.web.ordering import HOME
from web.server.keys import ENGINE

STRANGER = "stranger@example.com"


@pytest.fixture
def settings(settings):
    return replace(settings, rate_limits=True)


@pytest.fixture
async def book(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await add_book(conn, stock=1000)


async def order(client, book, key, email=STRANGER):
    await client.post("/api/v1/cart/items", json={"book_id": book, "quantity": 1})
    return await client.post(
        "/api/v1/orders",
        json={"shipping_address": HOME, "email": email},
        headers={"Idempotency-Key": key},
    )


async def count(server, table):
    async with transaction(server.app[ENGINE]) as conn:
        return await conn.scalar(select(func.count()).select_from(table))


async def test_a_stranger_gets_few_emails_from_many_guests_at_once(server, visitor, book):
    guests = [await visitor() for _ in range(12)]

    answers = await asyncio.gather(*(order(it, book, "k") for it in guests))

    statuses = sorted(answer.status for answer in answers)
    assert statuses == [202] * 5 + [429] * 7
    assert await count(server, orders) == 5
    assert await count(server, notifications) == 5
    refused = next(it for it in answers if it.status == 429)
    assert int(refused.headers["Retry-After"]) > 60


async def test_order_and_cancel_rounds_end(server, visitor, book):
    guest = await visitor()
    done = 0
    for round_ in range(10):
        answer = await order(guest, book, f"k{round_}")
        if answer.status == 429:
            break
        placed = await answer.json()
        path = f"/api/v1/orders/{placed['number']}/cancel?access_token={placed['access_token']}"
        assert (await guest.post(path, json={})).ok
        done += 1

    assert done == 5


async def test_a_repeat_is_no_further_order(visitor, book):
    guest = await visitor()
    for round_ in range(4):
        for _ in range(3):
            assert (await order(guest, book, f"k{round_}")).status == 202


async def test_another_address_and_a_customer_are_not_limited(visitor, book):
    guest, anna = await visitor(), await visitor(Role.CUSTOMER)
    for round_ in range(6):
        await order(guest, book, f"k{round_}")

    assert (await order(await visitor(), book, "k", "other@example.com")).status == 202
    for round_ in range(7):
        assert (await order(anna, book, f"k{round_}", "anna@example.com")).status == 202


@pytest.mark.parametrize(
    "name",
    ["Win https://evil.example", "www.evil.example", "see evil.example/x now", "HTTP://E.EXAMPLE/"],
)
@pytest.mark.parametrize("field", ["name", "line1", "line2", "city"])
async def test_a_link_in_an_address_is_refused(visitor, book, field, name):
    guest = await visitor()
    await guest.post("/api/v1/cart/items", json={"book_id": book, "quantity": 1})

    answer = await guest.post(
        "/api/v1/orders",
        json={"shipping_address": HOME | {field: name}, "email": STRANGER},
        headers={"Idempotency-Key": "k"},
    )

    assert answer.status == 422
    assert (await answer.json())["errors"][0]["pointer"] == f"#/shipping_address/{field}"


async def test_a_link_in_the_name_of_an_account_is_refused(visitor):
    guest, anna = await visitor(), await visitor(Role.CUSTOMER)
    body = {"email": STRANGER, "name": "Gift: http://evil.example", "password": PASSWORD}

    registered = await guest.post("/api/v1/users", json=body)
    renamed = await anna.patch("/api/v1/users/me", json={"name": "www.evil.example"})

    assert (registered.status, renamed.status) == (422, 422)


@pytest.mark.parametrize(
    "name",
    [
        "O'Brien",
        "Dr. med. Ada Lovelace",
        "St. John's",
        "J.R.R. Tolkien",
        "c/o Meier",
        "B. GmbH",
    ],
)
def test_real_names_are_accepted(name):
    assert not addresses.contains_link(name)
