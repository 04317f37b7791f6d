import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import api_tokens
from bookstore.users.permissions import Role
from web.api import routes
from web.server.keys import ENGINE
from web.server.route_access import AccessLevel

TOKENS = "/api/v1/users/me/tokens"


async def make(client, **body):
    answer = await client.post(TOKENS, json={"name": "a script", **body})
    assert answer.status == 201
    return await answer.json()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def test_a_token_is_shown_once(visitor):
    anna = await visitor(Role.CUSTOMER)

    made = await make(anna, scopes=["read"])
    [listed] = (await (await anna.get(TOKENS)).json())["items"]

    assert made.pop("token").startswith("bks_")
    assert listed == made
    assert (listed["name"], listed["scopes"]) == ("a script", ["read"])


async def test_the_table_holds_only_the_hash_of_a_token(server, visitor):
    token = (await make(await visitor(Role.CUSTOMER)))["token"]

    async with reading(server.app[ENGINE]) as conn:
        [row] = await conn.execute(select(api_tokens))

    assert token not in str(row)
    assert len(token) == len("bks_") + 43


async def test_a_program_authenticates_with_its_token(visitor):
    anna, program = await visitor(Role.CUSTOMER, "anna@example.com"), await visitor()
    token = (await make(anna))["token"]

    answer = await program.get("/api/v1/users/me", headers=bearer(token))

    assert (await answer.json())["email"] == "anna@example.com"
    assert "Set-Cookie" not in answer.headers
    assert (await program.get("/api/v1/users/me")).status == 401


async def test_a_token_neither_needs_nor_creates_a_session(visitor):
    anna, program = await visitor(Role.CUSTOMER), await visitor()
    token = (await make(anna))["token"]

    changed = await program.patch("/api/v1/users/me", json={"name": "A"}, headers=bearer(token))
    cart = await program.delete("/api/v1/cart", headers=bearer(token))

    assert (changed.status, cart.status) == (200, 204)
    assert "Set-Cookie" not in changed.headers
    assert "Set-Cookie" not in cart.headers


async def test_the_cookie_is_ignored_if_there_is_a_token(visitor):
    anna, boris = await visitor(Role.CUSTOMER), await visitor(Role.CUSTOMER, "boris@example.com")
    token = (await make(anna))["token"]

    with_token = await boris.get("/api/v1/users/me", headers=bearer(token))
    with_rubbish = await boris.get("/api/v1/users/me", headers=bearer("bks_rubbish"))
    from_elsewhere = await boris.patch(
        "/api/v1/users/me",
        json={"name": "Mallory"},
        headers={**bearer("bks_rubbish"), "Sec-Fetch-Site": "cross-site"},
    )

    assert (await with_token.json())["email"] != "boris@example.com"
    assert (with_rubbish.status, from_elsewhere.status) == (401, 401)
    assert with_rubbish.headers["WWW-Authenticate"] == "Bearer"
    assert (await with_rubbish.json())["code"] == "bad-token"


@pytest.mark.parametrize("scheme", ["Basic YTpi", "Digest x", "bks_x", ""])
async def test_other_authentication_schemes_are_ignored(visitor, scheme):
    anna = await visitor(Role.CUSTOMER)

    assert (await anna.get("/api/v1/users/me", headers={"Authorization": scheme})).status == 200


@pytest.mark.parametrize(
    ("scopes", "read", "write", "staff", "staff_write"),
    [
        (["read"], 200, 403, 403, 403),
        (["write"], 403, 200, 403, 403),
        (["read", "write"], 200, 200, 403, 403),
        (["read", "staff"], 200, 403, 200, 403),
        (["read", "write", "staff"], 200, 200, 200, 404),
        (None, 200, 200, 200, 404),
    ],
)
async def test_a_token_is_limited_to_its_scopes(visitor, scopes, read, write, staff, staff_write):
    admin, program = await visitor(Role.ADMIN), await visitor()
    token = (await make(admin, **({"scopes": scopes} if scopes else {})))["token"]

    async def status(method, path, **body):
        answer = await program.request(
            method, f"/api/v1{path}", headers=bearer(token), json=body or None
        )
        return answer.status

    assert await status("GET", "/users/me") == read
    assert await status("PATCH", "/users/me", name="A") == write
    assert await status("GET", "/users") == staff
    assert await status("POST", "/admin/tasks/999999/replay") == staff_write


async def test_orders_of_other_users_require_the_staff_scope(visitor):
    admin, anna, program = await visitor(Role.ADMIN), await visitor(Role.CUSTOMER), await visitor()
    book = await (
        await admin.post(
            "/api/v1/books",
            json={
                "isbn13": "9780441013593",
                "title": "Dune",
                "authors": ["Frank Herbert"],
                "price_cents": 1290,
                "stock": 2,
            },
            headers={"Idempotency-Key": "dune"},
        )
    ).json()
    await anna.post("/api/v1/cart/items", json={"book_id": book["id"], "quantity": 1})
    address = {"name": "A", "line1": "Q 9", "city": "Hamburg", "postcode": "20095", "country": "DE"}
    order = await (
        await anna.post(
            "/api/v1/orders", json={"shipping_address": address}, headers={"Idempotency-Key": "k"}
        )
    ).json()
    path = f"/api/v1/orders/{order['number']}"

    narrow, wide = [
        (await make(admin, scopes=scopes))["token"] for scopes in (["read"], ["read", "staff"])
    ]

    assert (await program.get(path, headers=bearer(wide))).status == 200
    assert (await program.get(path, headers=bearer(narrow))).status == 404


async def test_a_token_cannot_manage_credentials(visitor):
    admin, program = await visitor(Role.ADMIN), await visitor()
    token = (await make(admin))["token"]
    in_person = [route for route in routes.OPERATIONS if route.access is AccessLevel.IN_PERSON]

    for method, path, *_ in in_person:
        path = "/api/v1" + re.sub(r"\{.*\}", "1", path)
        answer = await program.request(method, path, headers=bearer(token))
        assert (answer.status, (await answer.json())["code"]) == (403, "not-allowed"), path
    assert len(in_person) >= 10


async def test_a_deleted_token_is_invalid(visitor):
    anna, boris, program = [
        await visitor(Role.CUSTOMER),
        await visitor(Role.CUSTOMER),
        await visitor(),
    ]
    made = await make(anna)
    path = f"{TOKENS}/{made['id']}"

    assert (await boris.delete(path)).status == 404
    assert (await anna.delete(path)).status == 204
    assert (await anna.delete(path)).status == 404
    assert (await program.get("/api/v1/users/me", headers=bearer(made["token"]))).status == 401


async def test_a_token_expires(server, visitor):
    anna, program = await visitor(Role.CUSTOMER), await visitor()
    until = datetime.now(UTC) + timedelta(hours=1)
    made = await make(anna, expires_at=until.isoformat())
    assert (await program.get("/api/v1/users/me", headers=bearer(made["token"]))).status == 200

    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(api_tokens).values(expires_at=datetime.now(UTC)))

    assert (await program.get("/api/v1/users/me", headers=bearer(made["token"]))).status == 401


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/name"),
        ({"name": " "}, "#/name"),
        ({"name": "x", "scopes": []}, "#/scopes"),
        ({"name": "x", "scopes": ["root"]}, "#/scopes/0"),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "#/expires_at"),
        ({"name": "x", "expires_at": "tomorrow"}, "#/expires_at"),
        ({"name": "x", "token": "bks_mine"}, "#/token"),
    ],
)
async def test_an_invalid_token_request_is_refused(visitor, body, pointer):
    answer = await (await visitor(Role.CUSTOMER)).post(TOKENS, json=body)

    assert answer.status == 422
    assert [fault["pointer"] for fault in (await answer.json())["errors"]] == [pointer]


async def test_the_tokens_of_a_disabled_user_are_invalid(visitor):
    admin, anna, program = await visitor(Role.ADMIN), await visitor(Role.CUSTOMER), await visitor()
    token = (await make(anna))["token"]
    user_id = (await (await anna.get("/api/v1/users/me")).json())["id"]

    await admin.patch(f"/api/v1/users/{user_id}", json={"disabled": True})

    assert (await program.get("/api/v1/users/me", headers=bearer(token))).status == 401


async def test_the_last_use_of_a_token_is_recorded_once_a_minute(server, visitor):
    anna, program = await visitor(Role.CUSTOMER), await visitor()
    made = await make(anna)

    async def use():
        await program.get("/api/v1/users/me", headers=bearer(made["token"]))
        [token] = (await (await anna.get(TOKENS)).json())["items"]
        return token["last_used_at"]

    assert made["last_used_at"] is None
    first = await use()
    assert await use() == first
    async with transaction(server.app[ENGINE]) as conn:
        earlier = datetime.now(UTC) - timedelta(seconds=61)
        await conn.execute(update(api_tokens).values(last_used_at=earlier))
    assert await use() > first


async def test_a_user_has_at_most_fifty_tokens(visitor):
    anna = await visitor(Role.CUSTOMER)
    for _ in range(50):
        await make(anna)

    answer = await anna.post(TOKENS, json={"name": "one more"})

    assert (answer.status, (await answer.json())["code"]) == (409, "too-many-tokens")
