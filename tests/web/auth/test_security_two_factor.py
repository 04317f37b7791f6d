"""The second factor, which staff must use (security check S-07)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import select, update

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import sessions as table
from bookstore.database.tables import users
from bookstore.users import passwords
from bookstore.users.permissions import Role
from tests.factories import NOON, add_user
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
from web.server.keys import ENGINE


@pytest.fixture
async def production(settings):
    """A production store without HTTPS, which the test client does not support."""
    async with TestServer(await make_app(replace(settings, env="production"))) as server:
        yield server


async def as_staff(server, role=Role.ADMIN):
    password_hash = await passwords.hash(PASSWORD)
    async with transaction(server.app[ENGINE]) as conn:
        await add_user(conn, email=ANNA, role=role, password_hash=password_hash)
    client = TestClient(server)
    assert (await client.post("/api/v1/session", json=SIGN_IN)).status == 200
    return client


async def test_s07_staff_without_a_second_factor_reach_only_the_page_to_set_it_up(production):
    staff = await as_staff(production)
    try:
        listed = await staff.get("/api/v1/users")
        assert (listed.status, (await listed.json())["code"]) == (403, "second-factor-required")
        for path in ("/admin", "/admin/orders", "/admin/users"):
            page = await staff.get(path, allow_redirects=False)
            assert (page.status, page.headers["Location"]) == (303, "/account/second-factor")
        assert (
            "Staff must sign in with a second factor"
            in await (await staff.get("/account/second-factor")).text()
        )

        await enable_totp(staff)

        assert (await staff.get("/api/v1/users")).status == 200
        assert (await staff.get("/admin", allow_redirects=False)).status == 200
    finally:
        await staff.close()


async def test_s07_handlers_treat_them_as_customers(production):
    """Order handlers check the role themselves, so the role must be that of a customer."""
    staff = await as_staff(production)
    try:
        assert (await (await staff.get("/api/v1/users/me")).json())["role"] == "customer"
    finally:
        await staff.close()


async def test_s07_a_token_does_not_bypass_it(production):
    staff = await as_staff(production)
    try:
        made = await (await staff.post("/api/v1/users/me/tokens", json={"name": "x"})).json()
        headers = {"Authorization": f"Bearer {made['token']}"}
        listed = await staff.get("/api/v1/users", headers=headers)
        assert (await listed.json())["code"] == "second-factor-required"
    finally:
        await staff.close()


async def try_code(client, code):
    answer = await client.post("/api/v1/session", json={**SIGN_IN, "code": code})
    return answer.status, (await answer.json()).get("code")


async def test_s07_a_code_is_valid_once_and_for_two_time_steps(server, visitor):
    anna, client = await visitor(Role.CUSTOMER, ANNA), await visitor()
    authenticator, recovery = await enable_totp(anna)
    async with transaction(server.app[ENGINE]) as conn:  # As if it was enabled long ago.
        await conn.execute(update(users).values(totp_step=0))
    now = datetime.now(UTC)
    if now.second % 30 > 25:  # A step must not end in the middle of the test.
        await asyncio.sleep(31 - now.second % 30)
        now = datetime.now(UTC)

    def code(steps_ago):
        return authenticator.generate_otp(int(now.timestamp()) // 30 - steps_ago)

    assert await try_code(client, None) == (401, "code-required")
    assert await try_code(client, code(2)) == (401, "bad-code")
    assert await try_code(client, code(-1)) == (401, "bad-code")
    assert await try_code(client, code(1)) == (200, None)
    assert await try_code(client, code(1)) == (401, "bad-code")
    assert await try_code(client, code(0)) == (200, None)
    assert await try_code(client, code(0)) == (401, "bad-code")
    assert await try_code(client, code(1)) == (401, "bad-code")
    assert await try_code(client, recovery[0]) == (200, None)
    assert await try_code(client, recovery[0]) == (401, "bad-code")


async def test_s07_the_sixth_attempt_is_throttled(settings, visitor):
    authenticator, _ = await enable_totp(await visitor(Role.CUSTOMER, ANNA))
    async with TestClient(
        TestServer(await make_app(replace(settings, rate_limits=True)))
    ) as client:
        attempts = [(await try_code(client, "000000"))[1] for _ in range(5)]
        sixth = await try_code(client, authenticator.now())

    assert attempts == ["bad-code"] * 5
    assert sixth == (429, "too-many-attempts")


async def test_s07_a_reset_does_not_remove_the_second_factor(server, visitor):
    anna, client = await visitor(Role.CUSTOMER, ANNA), await visitor()
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(users.update().values(email_verified_at=NOON))
    await enable_totp(anna)
    await client.post("/api/v1/password-resets", json={"email": ANNA})
    token = await token_to(server, ANNA, "reset-password")
    await client.put(f"/api/v1/password-resets/{token}", json={"password": NEW_PASSWORD})

    answer = await client.post("/api/v1/session", json={"email": ANNA, "password": NEW_PASSWORD})

    assert (await answer.json())["code"] == "code-required"


async def test_s07_replacing_or_removing_a_second_factor_needs_the_password(server, visitor):
    anna, elsewhere = await visitor(Role.CUSTOMER, ANNA), await visitor()
    assert (await anna.put("/api/v1/users/me/totp", json={"code": "1"})).status == 409
    await elsewhere.post("/api/v1/session", json=SIGN_IN)

    await enable_totp(anna)

    assert not await signed_in(elsewhere)
    assert (await anna.post("/api/v1/users/me/totp")).status == 409
    wrong = await anna.delete("/api/v1/users/me/totp", json={"password": "wrong"})
    assert wrong.status == 401
    right = await anna.delete("/api/v1/users/me/totp", json={"password": PASSWORD})
    assert right.status == 204
    await sign_in_again(elsewhere)


async def test_s07_the_database_has_neither_the_seed_nor_the_codes(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    authenticator, recovery = await enable_totp(anna)

    async with reading(server.app[ENGINE]) as conn:
        [row] = await conn.execute(select(users))
        codes = (await conn.exec_driver_sql("SELECT * FROM recovery_codes")).all()

    stored = str(row) + str(codes)
    assert authenticator.secret not in stored
    assert authenticator.byte_secret() not in row.totp_nonce
    assert not any(code in stored or code.replace("-", "") in stored for code in recovery)


async def test_s07_sensitive_actions_need_a_recent_password(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(table).values(data='{"role": "customer"}'))

    for path, body in (("totp", None), ("tokens", {"name": "x"})):
        answer = await anna.post(f"/api/v1/users/me/{path}", json=body)
        assert (answer.status, (await answer.json())["code"]) == (403, "password-needed")


async def try_code_on_the_page(client, code):
    """The status of the page after entering the password and this code."""
    own = {"Sec-Fetch-Site": "same-origin"}
    first = await client.post("/sign-in", data=SIGN_IN, headers=own, allow_redirects=False)
    assert (first.status, first.headers.get("Location")) == (303, "/sign-in/code"), first.status
    answer = await client.post(
        "/sign-in/code", data={"code": code}, headers=own, allow_redirects=False
    )
    return answer.status


async def test_s07_the_page_rejects_the_codes_that_the_api_rejects(server, visitor):
    authenticator, recovery = await enable_totp(await visitor(Role.CUSTOMER, ANNA))
    async with transaction(server.app[ENGINE]) as conn:  # As if it was enabled long ago.
        await conn.execute(update(users).values(totp_step=0))
    now = datetime.now(UTC)
    if now.second % 30 > 20:  # A step must not end in the middle of the test.
        await asyncio.sleep(31 - now.second % 30)
        now = datetime.now(UTC)
    last, before = [
        authenticator.generate_otp(int(now.timestamp()) // 30 - steps) for steps in (1, 2)
    ]

    for code, status in [
        (before, 401), ("", 401), (last, 303), (last, 401), (recovery[0], 303), (recovery[0], 401),
    ]:  # fmt: skip
        browser = await visitor()
        assert await try_code_on_the_page(browser, code) == status, code
        assert await signed_in(browser) is (status == 303)


async def test_s07_the_sixth_attempt_on_the_page_is_throttled(settings, visitor):
    authenticator, _ = await enable_totp(await visitor(Role.CUSTOMER, ANNA))
    async with TestClient(
        TestServer(await make_app(replace(settings, rate_limits=True)))
    ) as client:
        attempts = [await try_code_on_the_page(client, "000000") for _ in range(5)]
        own = {"Sec-Fetch-Site": "same-origin"}
        sixth = await client.post(
            "/sign-in/code",
            data={"code": authenticator.now()},
            headers=own,
            allow_redirects=False,
        )
        inside = await signed_in(client)

    assert attempts == [401] * 5
    assert (sixth.status, inside) == (429, False)
    assert int(sixth.headers["Retry-After"]) > 0
