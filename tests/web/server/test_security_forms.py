"""HTML forms: unknown fields, odd numbers, multiple e-mail addresses, open redirects, and many
parts (security checks S-15, S-16, S-24, S-26 and S-28)."""

import io
import re

import pytest
from sqlalchemy import select

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import addresses, books, notifications, orders, users
from bookstore.users.permissions import Role
from tests.clock import own_time_s
from tests.factories import add_book
from tests.web.api.sample_data import HOME
from tests.web.conftest import PASSWORD
from tests.web.server.database_contents import contents
from tests.web.server.extra_fields import COLUMNS, TEMPTING
from web.server.keys import ENGINE

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

OWN = {"Sec-Fetch-Site": "same-origin"}
ANNA = "anna@example.com"


@pytest.fixture
async def book_id(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await add_book(conn, title="Dune", price_cents=1000, stock=5)


async def send(client, path, fields, **options):
    return await client.post(path, data=fields, headers=OWN, allow_redirects=False, **options)


async def rows(server, table):
    async with reading(server.app[ENGINE]) as conn:
        return [dict(row._mapping) for row in await conn.execute(select(table))]


async def test_s15_unknown_form_fields_have_no_effect(server, visitor, book_id):
    anna = await visitor(Role.CUSTOMER, ANNA)
    await visitor(Role.CUSTOMER, "boris@example.com")
    [me, other] = await rows(server, users)
    books_before = await rows(server, books)
    extras = dict.fromkeys(COLUMNS | TEMPTING, "1")
    total = "1290"
    sent = [
        ("/account", {"name": "Anna K"}),
        ("/account/addresses", HOME),
        ("/account/emails", {}),
        ("/cart", {"book_id": str(book_id), "quantity": "1"}),
        ("/checkout", {**HOME, "expected_total_cents": total, "note": "", "key": "k" * 20}),
        ("/theme", {"theme": "dark"}),
    ]

    for path, fields in sent:
        answer = await send(anna, path, {**extras, **fields})
        assert answer.status == 303, (path, await answer.text())
    new = {"email": "mallory@example.com", "password": PASSWORD, "name": "Mallory"}
    assert (await send(await visitor(), "/register", {**extras, **new})).status == 303

    [after, unchanged, mallory] = await rows(server, users)
    assert unchanged == other
    assert {**after, "name": me["name"], "updated_at": me["updated_at"]} == me
    assert after["name"] == "Anna K"
    assert (mallory["role"], mallory["email_verified_at"]) == ("customer", None)
    assert mallory["id"] > other["id"]
    assert await rows(server, books) == books_before
    assert {row["user_id"] for row in await rows(server, addresses)} == {me["id"]}
    [order] = await rows(server, orders)
    assert (order["user_id"], order["email"]) == (me["id"], ANNA)
    assert (order["status"], order["payment_status"]) == ("placed", "unpaid")
    assert (order["total_cents"], order["reason"], order["tracking"]) == (None, None, None)


@pytest.mark.parametrize("quantity", ["-1", "1.5", "1e9", "NaN", "999", "9" * 30, "१", "+2", "0x2"])
async def test_s16_a_form_rejects_odd_quantities(client, book_id, quantity):
    for path in ("/cart", f"/cart/{book_id}", "/cart"):
        answer = await send(client, path, {"book_id": str(book_id), "quantity": quantity})
        assert answer.status < 500

        cart = await (await client.get("/api/v1/cart")).json()
        assert 0 <= cart["item_count"] <= 5
        assert cart["subtotal_cents"] == 1000 * cart["item_count"]


ADDRESSES = [
    "a@example.com\r\nBcc: evil@example.org",
    "a@example.com\nevil@example.org",
    "a@example.com\x00evil@example.org",
    "a@example.com\u2028evil@example.org",
    "a@example.com\x85evil@example.org",
    "a@example.com,evil@example.org",
    "a@example.com;evil@example.org",
    "a@example.com evil@example.org",
    "<evil@example.org>",
    "Anna <evil@example.org>",
    "evil@example.org@example.com",
    "a@example.com>\r\nRCPT TO:<evil@example.org",
    "=?utf-8?q?evil=40example.org?=",
]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_s24_no_email_is_sent_to_an_invalid_address(server, visitor, book_id, address):
    guest, anna = await visitor(), await visitor(Role.CUSTOMER, ANNA)
    new = {"email": address, "password": PASSWORD, "name": "Anna"}
    await guest.post("/api/v1/cart/items", json={"book_id": book_id, "quantity": 1})
    order = {"email": address, "shipping_address": HOME}

    for answer in (
        await guest.post("/api/v1/users", json=new),
        await guest.post("/api/v1/orders", json=order, headers={"Idempotency-Key": "k"}),
        await anna.put("/api/v1/users/me/email", json={"email": address, "password": PASSWORD}),
    ):
        assert answer.status == 422
        assert [fault["pointer"] for fault in (await answer.json())["errors"]] == ["#/email"]
    reset = await guest.post("/api/v1/password-resets", json={"email": address})
    assert reset.status == 202
    for path, fields in (
        ("/register", new),
        ("/checkout", {**HOME, "email": address}),
        ("/forgot-password", {"email": address}),
    ):
        assert (await send(guest, path, fields)).status < 500

    assert await rows(server, notifications) == []
    assert len(await rows(server, users)) == 1


ELSEWHERE = [
    "//e", "/\\e", "\\\\e", "https:e", "https://e.example/", "%2f%2fe", "/%2fe", "/%5ce", "/%09/e",
    "/\t/e", "\t//e", "/\n/e", " //e", "javascript:alert(1)", "data:text/html,x", "e.example", "",
]  # fmt: skip


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
async def test_s26_no_redirect_leads_to_another_site(visitor, elsewhere):
    anna = await visitor(Role.CUSTOMER, ANNA)
    known = {"email": ANNA, "password": PASSWORD, "next": elsewhere}
    new = {"email": "new@example.com", "password": PASSWORD, "name": "New", "next": elsewhere}

    answers = [
        await send(anna, "/theme", {"theme": "dark", "next": elsewhere}),
        await send(anna, "/language", {"language": "de", "next": elsewhere}),
        await send(anna, "/account/confirm", {"password": PASSWORD, "next": elsewhere}),
        await send(await visitor(), "/sign-in", known),
        await send(await visitor(), "/register", new),
        await anna.get("/sign-in", params={"next": elsewhere}, allow_redirects=False),
        await anna.get("/register", params={"next": elsewhere}, allow_redirects=False),
    ]
    page = await (await (await visitor()).get("/sign-in", params={"next": elsewhere})).text()

    assert [answer.status for answer in answers] == [303] * len(answers)
    assert {answer.headers["Location"] for answer in answers} <= {"/", "/account"}
    return_paths = re.findall(r'name="next" value="([^"]*)"', page)
    assert [path for path in return_paths if not path.startswith("/sign-in")] == []


@pytest.mark.parametrize("path", ["/admin/books/{book}/cover", "/admin/imports", "/api/v1/imports"])
async def test_s28_a_form_with_a_thousand_parts_is_rejected(server, visitor, book_id, path):
    admin = await visitor(Role.ADMIN)
    part = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = "".join(part.format(f"x{number}", "v" * 4000) for number in range(1000)) + "--b--\r\n"
    before = await contents(server)
    started_at = own_time_s()

    answer = await admin.post(
        path.replace("{book}", str(book_id)),
        data=io.BytesIO(body.encode()),
        headers={**OWN, "Content-Type": "multipart/form-data; boundary=b"},
        allow_redirects=False,
    )

    assert answer.status in (303, 400, 413, 422)
    assert own_time_s() - started_at < 2
    assert await contents(server) == before
