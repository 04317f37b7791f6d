"""Sessions and sign-in (security checks S-01 to S-05).

Other checks: S-06 in test_login_throttle.py, S-07 in test_security_two_factor.py, S-08 in
tests/web/api/test_links.py, S-09 to S-11 in test_security_passwords.py.
"""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import select, update

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import sessions as table
from bookstore.users import passwords, sessions
from bookstore.users.permissions import Role
from tests.factories import add_book, add_user
from tests.web.auth.sign_in import (
    ANNA,
    NEW_PASSWORD,
    SIGN_IN,
    enable_totp,
    sign_in_again,
    signed_in,
)
from tests.web.conftest import PASSWORD
from tests.web.mailbox import token_to
from web.app import make_app
from web.live import sse
from web.server.keys import ENGINE, USER
from web.store.routes import PAGES


def cookie(client):
    return client.session.cookie_jar.filter_cookies(client.make_url("/"))["sid"].value


async def is_session(client, value):
    """Whether this cookie value is the session of a user."""
    answer = await client.get("/api/v1/session", headers={"Cookie": f"sid={value}"})
    return (await answer.json())["user"] is not None


async def my_id(client):
    return (await (await client.get("/api/v1/users/me")).json())["id"]


async def change_password(client):
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await client.put("/api/v1/users/me/password", json=change)).status == 204


async def change_role(client, admin, role="clerk"):
    path = f"/api/v1/users/{await my_id(client)}"
    assert (await admin.patch(path, json={"role": role})).status == 200
    # The next request applies the new role and gets a new cookie.
    assert await signed_in(client)


@pytest.mark.parametrize("what", ["sign in", "password", "totp", "role"])
async def test_s01_changes_of_credentials_or_role_change_the_session(visitor, client, what):
    anna, admin = await visitor(Role.CUSTOMER, ANNA), await visitor(Role.ADMIN)
    before = cookie(anna)
    assert await is_session(client, before)

    match what:
        case "sign in":
            await sign_in_again(anna)
        case "password":
            await change_password(anna)
        case "totp":
            await enable_totp(anna)
        case "role":
            await change_role(anna, admin)

    assert cookie(anna) != before
    assert not await is_session(client, before)
    assert await signed_in(anna)


async def test_s01_sign_in_replaces_the_session_of_a_guest(visitor, client):
    await visitor(Role.CUSTOMER, ANNA)
    await client.post("/theme", data={"theme": "dark"})
    client.session.cookie_jar.update_cookies({"sid": "planted" * 6})

    await client.post("/api/v1/session", json=SIGN_IN)

    assert cookie(client) != "planted" * 6
    assert not await is_session(await visitor(), "planted" * 6)


@pytest.mark.parametrize("how", ["program", "page"])
async def test_s01_the_guest_session_is_invalid_after_sign_in(server, visitor, client, how):
    anna = await visitor(Role.CUSTOMER, ANNA)
    async with transaction(server.app[ENGINE]) as conn:
        book_id = await add_book(conn, stock=3)
    await client.post("/api/v1/cart/items", json={"book_id": book_id, "quantity": 1})
    before = cookie(client)

    if how == "program":
        await sign_in_again(client)
    else:
        headers = {"Sec-Fetch-Site": "same-origin"}
        await client.post("/sign-in", data=SIGN_IN, headers=headers)

    assert cookie(client) not in (before, cookie(anna))
    assert await my_id(client) == await my_id(anna)
    assert not await is_session(await visitor(), before)
    left = await (await visitor()).get("/api/v1/cart", headers={"Cookie": f"sid={before}"})
    assert (await left.json())["items"] == []


async def test_s01_a_removed_role_has_no_access(visitor):
    clerk, admin = await visitor(Role.CLERK, ANNA), await visitor(Role.ADMIN)
    assert (await clerk.get("/api/v1/admin/orders")).status == 200

    await change_role(clerk, admin, "customer")

    assert (await clerk.get("/api/v1/admin/orders")).status == 403


async def test_s01_a_session_that_ended_during_a_request_is_not_recreated(settings, visitor):
    anna, admin = await visitor(Role.CUSTOMER, ANNA), await visitor(Role.ADMIN)
    app = await make_app(settings)

    async def end_all(request):
        async with transaction(request.app[ENGINE]) as conn:
            await sessions.end_all(conn, request[USER].id)
        return web.Response(text=str(request[USER].role))

    app.router.add_get("/end-all", end_all)
    path = f"/api/v1/users/{await my_id(anna)}"
    await admin.patch(path, json={"role": "clerk"})
    async with TestClient(TestServer(app)) as client:
        headers = {"Cookie": f"sid={cookie(anna)}"}
        answer = await client.get("/end-all", headers=headers)
        role = await answer.text()

    assert role == "clerk"
    assert "Set-Cookie" not in answer.headers
    assert not await signed_in(anna)


@pytest.mark.parametrize("invented", ["", "x", "A" * 43, "ü", "x" * 6000, "a;b", "'--", "0"])
async def test_s02_an_invented_cookie_is_no_session(visitor, client, invented):
    await visitor(Role.CUSTOMER, ANNA)

    answer = await client.get("/api/v1/users/me", headers={"Cookie": f"sid={invented}"})

    assert answer.status in (400, 401)
    assert "sid=" + invented not in answer.headers.get("Set-Cookie", "-")


async def test_s02_an_invented_cookie_is_replaced(server, visitor, client):
    async with transaction(server.app[ENGINE]) as conn:
        book_id = await add_book(conn, stock=3)
    invented = "A" * 43

    answer = await client.post(
        "/api/v1/cart/items",
        json={"book_id": book_id, "quantity": 1},
        headers={"Cookie": f"sid={invented}"},
    )

    issued = answer.cookies["sid"].value
    assert issued != invented
    for value, count in ((invented, 0), (issued, 1)):
        cart = await (await visitor()).get("/api/v1/cart", headers={"Cookie": f"sid={value}"})
        assert (await cart.json())["item_count"] == count


async def test_s02_session_fixation_gives_no_access(server, visitor, client):
    await visitor(Role.CUSTOMER, ANNA)
    async with transaction(server.app[ENGINE]) as conn:
        book_id = await add_book(conn, stock=3)
    mallory = await visitor()
    await mallory.post("/api/v1/cart/items", json={"book_id": book_id, "quantity": 1})
    client.session.cookie_jar.update_cookies({"sid": cookie(mallory)})

    await sign_in_again(client)

    assert await signed_in(client)
    assert not await signed_in(mallory)
    assert not await is_session(await visitor(), cookie(mallory))


async def test_s02_ended_and_expired_sessions_are_invalid(server, visitor, client):
    anna = await visitor(Role.CUSTOMER, ANNA)
    signed_out = cookie(anna)
    await anna.delete("/api/v1/session")
    await sign_in_again(anna)
    expired = cookie(anna)
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(table).values(expires_at=datetime.now(UTC)))

    assert not await is_session(client, signed_out)
    assert not await is_session(client, expired)


async def test_s02_sign_out_clears_the_browser_data(visitor):
    anna = await visitor(Role.CUSTOMER)

    answer = await anna.delete("/api/v1/session")

    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'


@pytest.mark.parametrize(
    ("role", "idle", "absolute"),
    [
        (Role.CUSTOMER, timedelta(days=14), timedelta(days=30)),
        (Role.CLERK, timedelta(minutes=30), timedelta(hours=10)),
        (Role.ADMIN, timedelta(minutes=30), timedelta(hours=10)),
    ],
)
async def test_s02_sessions_expire_after_their_lifetime(server, visitor, role, idle, absolute):
    await visitor(role, ANNA)
    client = await visitor()
    await sign_in_again(client)
    second = timedelta(seconds=5)

    async def valid_after(idle_time):
        async with transaction(server.app[ENGINE]) as conn:
            await conn.execute(update(table).values(last_seen_at=datetime.now(UTC) - idle_time))
        return await signed_in(client)

    async with reading(server.app[ENGINE]) as conn:
        row = (await conn.execute(select(table).order_by(table.c.created_at.desc()))).first()
    assert row.expires_at - row.created_at == absolute
    assert await valid_after(idle - second)
    assert not await valid_after(idle + second)


SAFE_COOKIE = re.compile(
    r"__Host-(sid|device)=[\w.-]{43,}; HttpOnly; Max-Age=\d+; Path=/; SameSite=Lax; Secure|"
    r'__Host-sid=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Max-Age=0; Path=/; '
    r"SameSite=Lax; Secure|"
    r"(theme=(auto|dark)|language=de); HttpOnly; Max-Age=\d+; Path=/; SameSite=Lax; Secure"
)


async def test_s03_every_cookie_has_its_attributes(settings, server):
    secure = await make_app(replace(settings, base_url="https://books.example"))
    password_hash = await passwords.hash(PASSWORD)
    async with transaction(server.app[ENGINE]) as conn:
        await add_user(conn, email=ANNA, role=Role.ADMIN, password_hash=password_hash)
    async with TestClient(TestServer(secure)) as client:
        signed = await client.post("/api/v1/session", json=SIGN_IN)
        # Over plain HTTP the client does not return secure cookies by itself.
        headers = {"Cookie": f"__Host-sid={signed.cookies['__Host-sid'].value}"}
        seen = signed.headers.getall("Set-Cookie")
        for route in secure.router.routes():
            if route.method in ("GET", "POST", "PUT", "PATCH") and "/stream" not in str(route):
                path = re.sub(r"\{[^}]*\}", "1", route.resource.canonical)
                if "events" in path:
                    continue
                answer = await client.request(
                    route.method, path, headers=headers, allow_redirects=False
                )
                seen += answer.headers.getall("Set-Cookie", [])
        for name, chosen in (("theme", "dark"), ("language", "de")):
            choice = await client.post(f"/{name}", data={name: chosen}, allow_redirects=False)
            seen += choice.headers.getall("Set-Cookie")
        out = await client.delete("/api/v1/session", headers=headers)
        seen += out.headers.getall("Set-Cookie", [])

    assert len(PAGES) > 40
    assert len(seen) >= 5
    assert [cookie for cookie in seen if not SAFE_COOKIE.fullmatch(cookie)] == []


@pytest.mark.parametrize("how", ["change", "reset"])
async def test_s04_a_new_password_ends_all_other_sessions(server, visitor, how):
    anna, elsewhere = await visitor(Role.CUSTOMER, ANNA), await visitor()
    await elsewhere.post("/api/v1/session", json=SIGN_IN)

    if how == "change":
        await change_password(anna)
    else:
        await anna.post("/api/v1/password-resets", json={"email": ANNA})
        token = await token_to(server, ANNA, "reset-password")
        path = f"/api/v1/password-resets/{token}"
        assert (await anna.put(path, json={"password": NEW_PASSWORD})).status == 204

    assert not await signed_in(elsewhere)
    assert await signed_in(anna) is (how == "change")


async def test_s04_a_disabled_user_is_signed_out_at_the_next_request(visitor):
    anna, admin = await visitor(Role.CLERK, ANNA), await visitor(Role.ADMIN)
    path = f"/api/v1/users/{await my_id(anna)}"

    await admin.patch(path, json={"disabled": True})

    assert (await anna.get("/api/v1/admin/orders")).status == 401


async def test_s04_a_stream_ends_with_its_session(settings, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    app = await make_app(settings)

    async def show(request):
        return await sse.stream(request, sse.Subscriber(), keepalive_s=0.1)

    app.router.add_get("/silence", show)
    async with TestClient(TestServer(app)) as here, TestClient(here.server) as guest:
        await here.post("/api/v1/session", json=SIGN_IN)
        streams = [await each.get("/silence") for each in (here, guest)]
        for stream in streams:
            for _ in range(3):
                await stream.content.readuntil(b"keep-alive")

        await change_password(anna)

        async with asyncio.timeout(5):
            await streams[0].content.read()
        await streams[1].content.readuntil(b"keep-alive")
        assert not streams[1].content.at_eof()
        streams[1].close()


async def answers(client, method, path, bodies):
    """Status, headers and body of each response, without values that always differ."""
    found = []
    for body in bodies:
        answer = await client.request(method, path, json=body)
        text = re.sub(r'"request_id": "\w+"', "", await answer.text())
        names = sorted(set(answer.headers) - {"X-Request-ID", "Date"})
        found.append((answer.status, names, text))
    return found


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v1/session", {"password": "wrong"}),
        ("POST", "/api/v1/password-resets", {}),
        ("PUT", "/api/v1/users/me/email", {"password": PASSWORD}),
    ],
)
async def test_s05_responses_do_not_reveal_accounts(visitor, method, path, body):
    await visitor(Role.CUSTOMER, ANNA)
    boris = await visitor(Role.CUSTOMER, "boris@example.com")
    bodies = [{**body, "email": email} for email in (ANNA, "unknown@example.com")]

    known, unknown = await answers(boris, method, path, bodies)

    assert known == unknown


async def test_s05_registration_reveals_accounts_only_a_few_times(settings, visitor):
    await visitor(Role.CUSTOMER, ANNA)
    limited = replace(settings, rate_limits=True, trusted_proxies=("127.0.0.1",))
    async with TestClient(TestServer(await make_app(limited))) as client:
        new = {"email": ANNA, "password": PASSWORD, "name": "Mallory"}
        responses = [
            await client.post("/api/v1/users", json=new, headers={"X-Forwarded-For": "192.0.2.7"})
            for _ in range(6)
        ]

    assert [answer.status for answer in responses] == [409] * 5 + [429]
