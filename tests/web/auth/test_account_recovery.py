"""Attacks on the recovery of an account: what was made before a proof or a reset ends with it."""

from dataclasses import replace

import pyotp
import pytest
from sqlalchemy import select

from bookstore.database.engine import transaction
from bookstore.database.tables import audit_log, notifications, users
from tests.web.conftest import PASSWORD
from tests.web.mailbox import token_to
from web.server.keys import ENGINE

VICTIM = "victim@example.com"
NEW = "a completely new pass phrase 7"


@pytest.fixture
def settings(settings):
    """With throttling, which other tests switch off."""
    return replace(settings, rate_limits=True)


async def register(client, email=VICTIM):
    answer = await client.post(
        "/api/v1/users", json={"email": email, "name": "Mallory", "password": PASSWORD}
    )
    assert answer.status == 201, await answer.text()


async def make_token(client):
    answer = await client.post(
        "/api/v1/users/me/tokens", json={"name": "x", "scopes": ["read", "write"]}
    )
    assert answer.status == 201, await answer.text()
    return {"Authorization": f"Bearer {(await answer.json())['token']}"}


async def enable_second_factor(client):
    secret = (await (await client.post("/api/v1/users/me/totp")).json())["secret"]
    answer = await client.put("/api/v1/users/me/totp", json={"code": pyotp.TOTP(secret).now()})
    assert answer.ok, await answer.text()


async def status(client, **options):
    return (await client.get("/api/v1/users/me", **options)).status


async def reset(client, server, email=VICTIM):
    await client.post("/api/v1/password-resets", json={"email": email})
    token = await token_to(server, email, "reset-password")
    return await client.put(f"/api/v1/password-resets/{token}", json={"password": NEW})


async def sign_in(client, password, email=VICTIM):
    return await client.post("/api/v1/session", json={"email": email, "password": password})


async def test_a_reset_ends_sessions_tokens_and_a_factor_from_before_the_proof(visitor, server):
    mallory, thief, owner = await visitor(), await visitor(), await visitor()
    await register(mallory)
    token = await make_token(mallory)
    await enable_second_factor(mallory)

    answer = await reset(owner, server)

    assert answer.ok, await answer.text()
    assert await status(mallory) == 401
    assert await status(thief, headers=token) == 401
    # The second factor of the attacker does not lock the owner out.
    assert (await sign_in(owner, NEW)).status == 200


async def test_the_first_confirmation_ends_what_was_made_before(visitor, server):
    mallory, thief, owner = await visitor(), await visitor(), await visitor()
    await register(mallory)
    token = await make_token(mallory)
    link = await token_to(server, VICTIM, "welcome")

    await owner.put(f"/api/v1/email-verifications/{link}")

    assert await status(mallory) == 401
    assert await status(thief, headers=token) == 401


async def test_the_owner_stays_signed_in_where_the_link_is_opened(visitor, server):
    owner = await visitor()
    await register(owner)
    link = await token_to(server, VICTIM, "welcome")

    await owner.put(f"/api/v1/email-verifications/{link}")

    assert await status(owner) == 200


async def test_a_reset_keeps_a_second_factor_of_a_proven_address(visitor, server):
    owner = await visitor()
    await register(owner)
    link = await token_to(server, VICTIM, "welcome")
    await owner.put(f"/api/v1/email-verifications/{link}")
    await enable_second_factor(owner)
    token = await make_token(owner)

    await reset(owner, server)
    answer = await sign_in(await visitor(), NEW)

    assert (answer.status, (await answer.json())["code"]) == (401, "code-required")
    assert await status(await visitor(), headers=token) == 401


async def test_a_device_known_before_a_reset_is_throttled_like_any_other(visitor, server):
    thief, owner = await visitor(), await visitor()
    await register(thief)
    await reset(owner, server)
    stranger = await visitor()
    for _ in range(20):
        if (await sign_in(stranger, "a wrong pass phrase")).status == 429:
            break

    answer = await sign_in(thief, "a wrong pass phrase")

    assert answer.status == 429


async def test_a_change_of_address_ends_the_other_sessions(visitor, server):
    owner, other = await visitor(), await visitor()
    await register(owner)
    await sign_in(other, PASSWORD)
    await owner.put(f"/api/v1/email-verifications/{await token_to(server, VICTIM, 'welcome')}")
    await sign_in(other, PASSWORD)
    assert await status(other) == 200
    answer = await owner.put(
        "/api/v1/users/me/email", json={"email": "new@example.com", "password": PASSWORD}
    )
    assert answer.ok, await answer.text()
    link = await token_to(server, "new@example.com", "confirm-email")

    await owner.put(f"/api/v1/email-verifications/{link}")

    assert (await status(owner), await status(other)) == (200, 401)


@pytest.mark.parametrize(
    ("act", "kind", "action"),
    [
        (make_token, "token-created", "create-token"),
        (enable_second_factor, "second-factor-on", "enable-second-factor"),
    ],
)
async def test_new_access_leaves_an_email_and_an_audit_row(visitor, server, act, kind, action):
    owner = await visitor()
    await register(owner)

    await act(owner)

    async with transaction(server.app[ENGINE]) as conn:
        kinds = set(await conn.scalars(select(notifications.c.kind)))
        actions = set(await conn.scalars(select(audit_log.c.action)))
    assert kind in kinds
    assert action in actions


async def test_a_session_from_a_new_device_is_reported_to_the_owner_once(visitor, server):
    owner, thief = await visitor(), await visitor()
    await register(owner)
    async with transaction(server.app[ENGINE]) as conn:  # Registered long ago.
        (row,) = await conn.execute(select(users.c.id, users.c.created_at))
        await conn.execute(
            users.update().values(created_at=row.created_at.replace(year=row.created_at.year - 1))
        )
    for _ in range(2):
        await sign_in(thief, PASSWORD)
    await sign_in(owner, PASSWORD)

    async with transaction(server.app[ENGINE]) as conn:
        kinds = list(await conn.scalars(select(notifications.c.kind)))
    assert kinds.count("new-device") == 1
