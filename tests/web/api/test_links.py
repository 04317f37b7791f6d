"""Links in e-mails: verified addresses, changed addresses and password resets."""

from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import select, update

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import link_tokens, notifications
from bookstore.users.permissions import Role
from tests.web.conftest import PASSWORD
from tests.web.mailbox import emails_to, kinds_to, token_to
from web.app import make_app
from web.server.keys import ENGINE

ANNA, BORIS = "anna@example.com", "boris@example.com"
NEW_PASSWORD = "eight wells deep"


async def profile(client):
    return await (await client.get("/api/v1/users/me")).json()


async def request_reset(client, email=ANNA, **options):
    answer = await client.post("/api/v1/password-resets", json={"email": email}, **options)
    return answer.status


async def reset(client, token, password=NEW_PASSWORD):
    answer = await client.put(f"/api/v1/password-resets/{token}", json={"password": password})
    return answer.status


async def verify(client, token):
    return (await client.put(f"/api/v1/email-verifications/{token}")).status


async def sign_in(client, email, password=PASSWORD):
    answer = await client.post("/api/v1/session", json={"email": email, "password": password})
    return answer.status


async def age(server, minutes):
    """Make all links older by this many minutes."""
    async with transaction(server.app[ENGINE]) as conn:
        for row in await conn.execute(select(link_tokens)):
            older = row.expires_at - timedelta(minutes=minutes)
            await conn.execute(
                update(link_tokens).where(link_tokens.c.id == row.id).values(expires_at=older)
            )


async def test_the_welcome_email_verifies_the_address(server, client):
    await client.post("/api/v1/users", json={"email": ANNA, "password": PASSWORD, "name": "Anna"})
    assert not (await profile(client))["email_verified"]

    status = await verify(client, await token_to(server, ANNA, "welcome"))

    assert status == 204
    assert (await profile(client))["email_verified"]


async def test_another_verification_email_can_be_requested(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)

    requested = await anna.post("/api/v1/users/me/email-verification")
    confirmed = await verify(anna, await token_to(server, ANNA, "verify-email"))
    again = await anna.post("/api/v1/users/me/email-verification")

    assert (requested.status, confirmed, again.status) == (202, 204, 202)
    assert await kinds_to(server, ANNA) == ["verify-email"]


async def test_a_new_address_takes_effect_after_its_verification(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)

    requested = await anna.put(
        "/api/v1/users/me/email", json={"email": "a.k@example.com", "password": PASSWORD}
    )
    before = (await profile(anna))["email"]
    confirmed = await verify(anna, await token_to(server, "a.k@example.com", "confirm-email"))

    assert (requested.status, before, confirmed) == (202, ANNA, 204)
    after = await profile(anna)
    assert (after["email"], after["email_verified"]) == ("a.k@example.com", True)
    assert await kinds_to(server, ANNA) == ["email-changing", "email-changed"]
    assert await sign_in(await visitor(), "a.k@example.com") == 200
    assert await sign_in(await visitor(), ANNA) == 401


async def test_an_address_is_not_changed_without_the_password(visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)

    for email, password, status in [
        (BORIS, "a guess", 401),
        ("nobody", PASSWORD, 422),
        ("Anna@example.com", PASSWORD, 422),
    ]:
        change = {"email": email, "password": password}
        assert (await anna.put("/api/v1/users/me/email", json=change)).status == status


async def test_only_the_owner_is_notified_that_an_address_has_an_account(server, visitor):
    anna, _ = await visitor(Role.CUSTOMER, ANNA), await visitor(Role.CUSTOMER, BORIS)

    registered = await anna.put(
        "/api/v1/users/me/email", json={"email": BORIS, "password": PASSWORD}
    )
    free = await anna.put(
        "/api/v1/users/me/email", json={"email": "c@example.com", "password": PASSWORD}
    )

    assert (
        (registered.status, await registered.read())
        == (free.status, await free.read())
        == (202, b"")
    )
    assert await kinds_to(server, BORIS) == ["email-known"]
    assert await kinds_to(server, ANNA) == ["email-changing"] * 2


async def test_an_address_registered_in_the_meantime_stays_with_its_owner(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    await anna.put("/api/v1/users/me/email", json={"email": BORIS, "password": PASSWORD})
    token = await token_to(server, BORIS, "confirm-email")
    await visitor(Role.CUSTOMER, BORIS)

    assert await verify(anna, token) == 404
    assert (await profile(anna))["email"] == ANNA


async def test_a_forgotten_password_is_replaced(server, visitor):
    anna, elsewhere = await visitor(Role.CUSTOMER, ANNA), await visitor()

    requested = await request_reset(elsewhere)
    done = await reset(elsewhere, await token_to(server, ANNA, "reset-password"))

    assert (requested, done) == (202, 204)
    assert (await anna.get("/api/v1/users/me")).status == 401
    assert (await elsewhere.get("/api/v1/users/me")).status == 401
    assert await sign_in(elsewhere, ANNA) == 401
    assert await sign_in(elsewhere, ANNA, NEW_PASSWORD) == 200
    assert await kinds_to(server, ANNA) == ["reset-password", "password-changed"]


async def test_a_reset_verifies_the_address(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    await request_reset(anna)

    await reset(anna, await token_to(server, ANNA, "reset-password"))
    await sign_in(anna, ANNA, NEW_PASSWORD)

    assert (await profile(anna))["email_verified"]


async def test_a_refused_password_does_not_use_the_link(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    await request_reset(anna)
    token = await token_to(server, ANNA, "reset-password")

    assert await reset(anna, token, "short") == 422
    assert await reset(anna, token) == 204


async def test_an_unknown_address_gets_no_email(server, client):
    assert await request_reset(client, "nobody@example.com") == 202
    assert await request_reset(client, "not an address \ud7ff\x00") == 202

    async with reading(server.app[ENGINE]) as conn:
        assert (await conn.execute(select(notifications))).all() == []


async def test_a_disabled_account_gets_no_reset_email(server, visitor):
    admin, anna = await visitor(Role.ADMIN), await visitor(Role.CUSTOMER, ANNA)
    user_id = (await profile(anna))["id"]
    await request_reset(anna)
    token = await token_to(server, ANNA, "reset-password")
    await admin.patch(f"/api/v1/users/{user_id}", json={"disabled": True})

    assert await request_reset(anna) == 202
    assert await reset(anna, token) == 404
    assert await kinds_to(server, ANNA) == ["reset-password"]


async def test_s08_a_reset_link_works_once(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    await request_reset(anna)
    token = await token_to(server, ANNA, "reset-password")

    assert [await reset(anna, token) for _ in range(2)] == [204, 404]


async def test_s08_a_new_password_invalidates_all_other_links(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    tokens = []
    for _ in range(2):
        await request_reset(anna)
        tokens.append(await token_to(server, ANNA, "reset-password"))
    await anna.put(
        "/api/v1/users/me/password",
        json={"current_password": PASSWORD, "new_password": NEW_PASSWORD},
    )

    assert [await reset(anna, token) for token in tokens] == [404, 404]


@pytest.mark.parametrize(("minutes", "status"), [(29, 204), (30, 404)])
async def test_s08_a_reset_link_works_for_half_an_hour(server, visitor, minutes, status):
    anna = await visitor(Role.CUSTOMER, ANNA)
    await request_reset(anna)
    token = await token_to(server, ANNA, "reset-password")

    await age(server, minutes)

    assert await reset(anna, token) == status


async def test_s08_an_altered_reset_link_is_invalid(server, visitor):
    anna, _ = await visitor(Role.CUSTOMER, ANNA), await visitor(Role.CUSTOMER, BORIS)
    await request_reset(anna)
    await request_reset(anna, BORIS)
    own, other = [await token_to(server, who, "reset-password") for who in (ANNA, BORIS)]
    own_id, own_secret = own.split("-", 1)
    other_id, other_secret = other.split("-", 1)

    altered = [
        f"{other_id}-{own_secret}",
        f"{own_id}-{other_secret}",
        own[:-1] + ("A" if own[-1] != "A" else "B"),
        own_id,
        own_secret,
        f"{own}x",
        "x",
        "%00",
        "9" * 30 + "-" + own_secret,
    ]

    assert {await reset(anna, token) for token in altered} == {404}
    assert await verify(anna, own) == 404


async def test_s08_an_address_change_invalidates_reset_links(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    await request_reset(anna)
    token = await token_to(server, ANNA, "reset-password")
    await anna.put("/api/v1/users/me/email", json={"email": BORIS, "password": PASSWORD})
    await verify(anna, await token_to(server, BORIS, "confirm-email"))

    assert await reset(anna, token) == 404


async def test_s08_the_host_header_is_not_used_in_emails(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}

    assert await request_reset(anna, headers=evil) == 202

    [(_, text)] = await emails_to(server, ANNA)
    assert "evil" not in text
    assert await token_to(server, ANNA, "reset-password")


async def test_s08_the_database_does_not_contain_the_secret_of_a_link(server, visitor):
    anna = await visitor(Role.CUSTOMER, ANNA)
    await request_reset(anna)
    _, secret = (await token_to(server, ANNA, "reset-password")).split("-", 1)

    async with reading(server.app[ENGINE]) as conn:
        [row] = await conn.execute(select(link_tokens))

    assert secret not in str(row)
    assert secret.encode() not in b"".join(it for it in row if isinstance(it, bytes))


async def test_staff_do_not_see_the_link_of_an_email(server, visitor):
    anna, admin = await visitor(Role.CUSTOMER, ANNA), await visitor(Role.ADMIN)
    await request_reset(anna)
    token = await token_to(server, ANNA, "reset-password")
    async with reading(server.app[ENGINE]) as conn:
        email_id = await conn.scalar(select(notifications.c.id))

    page = await (await admin.get(f"/admin/notifications?email={email_id}")).text()
    listed = await (await admin.get("/api/v1/admin/notifications")).text()

    assert "Set a new password" in page
    assert token not in page + listed


async def test_emails_to_one_account_are_limited(settings, visitor):
    await visitor(Role.CUSTOMER, ANNA)
    limited = replace(settings, rate_limits=True, trusted_proxies=("127.0.0.1",))
    server = TestServer(await make_app(limited))
    async with TestClient(server) as client:
        requested = [
            await request_reset(client, headers={"X-Forwarded-For": f"198.51.100.{number}"})
            for number in range(7)
        ]
        sent = await kinds_to(server, ANNA)

    assert requested == [202] * 7
    assert sent == ["reset-password"] * 5


async def test_one_ip_address_may_request_five_resets_an_hour(settings):
    limited = replace(settings, rate_limits=True, trusted_proxies=("127.0.0.1",))
    async with TestClient(TestServer(await make_app(limited))) as client:
        requested = [
            await request_reset(
                client, f"reader{number}@example.com", headers={"X-Forwarded-For": "192.0.2.7"}
            )
            for number in range(6)
        ]

    assert requested == [202] * 5 + [429]


async def test_a_password_reset_lifts_the_sign_in_throttle(settings, visitor):
    await visitor(Role.CUSTOMER, ANNA)
    server = TestServer(await make_app(replace(settings, rate_limits=True)))
    async with TestClient(server) as client:
        for _ in range(6):
            await sign_in(client, ANNA, "a guess")
        await request_reset(client)
        await reset(client, await token_to(server, ANNA, "reset-password"))

        assert await sign_in(client, ANNA, NEW_PASSWORD) == 200
