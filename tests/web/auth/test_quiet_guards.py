"""Guards whose absence other protections hide: each test is red when its guard is removed."""

from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from sqlalchemy import func, select

from bookstore import derived_secrets
from bookstore.database.engine import transaction
from bookstore.database.tables import link_tokens as table
from bookstore.errors import BadCredentials, BadLink
from bookstore.notifications import link_tokens
from bookstore.notifications.link_tokens import Purpose
from bookstore.orders import processing
from bookstore.payments import INVOICE, Payment
from bookstore.users import accounts, passwords
from tests.factories import NOON, add_user
from web.server.keys import SETTINGS
from web.server.request_context import client_address

KEY = "k" * 40


def test_a_part_of_a_secret_is_no_secret():
    secret = derived_secrets.text(KEY, "order")

    assert derived_secrets.verify(secret, KEY, "order")
    for wrong in (*(secret[:end] for end in range(len(secret))), f"{secret}x", secret.lower()):
        assert not derived_secrets.verify(wrong, KEY, "order")


def request_from(settings, remote, forwarded):
    app = web.Application()
    app[SETTINGS] = settings
    return make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded}, app=app).clone(
        remote=remote
    )


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        # Anybody may send the header.
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),
        # The proxy appended the last one; the client wrote the others.
        ("10.0.0.1", "6.6.6.6, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "10.0.0.9, 198.51.100.7", "198.51.100.7"),
    ],
)
def test_only_what_a_trusted_proxy_appended_is_believed(settings, remote, forwarded, address):
    trusting = replace(settings, trusted_proxies=("10.0.0.0/24",))

    assert client_address(request_from(trusting, remote, forwarded)) == address


def test_money_is_returned_at_most_once():
    """No way leads from refunded to another status, so none leads to a second refund."""
    assert Payment.REFUNDED not in INVOICE.steps
    for payment in Payment:
        seen, todo = set(), [payment]
        while todo:
            for following in INVOICE.steps.get(todo.pop(), ()):
                if following not in seen:
                    seen.add(following)
                    todo.append(following)
        assert payment in (Payment.UNPAID, Payment.AUTHORIZED) or payment not in seen


async def test_an_unknown_account_costs_a_hash_too(engine, monkeypatch):
    hashed = []
    verify = passwords._verify
    monkeypatch.setattr(passwords, "_verify", lambda *given: hashed.append(given) or verify(*given))

    with pytest.raises(BadCredentials):
        await accounts.sign_in(engine, "nobody@example.com", "a wrong pass phrase")

    assert hashed == [(None, "a wrong pass phrase")]


def test_orders_are_locked_before_they_are_decided():
    """The unique key of events would hide it: the second worker fails instead of waiting."""
    assert "FOR UPDATE" in processing._LOCK._bulk.mysql


async def test_a_used_link_is_gone(engine):
    async with transaction(engine) as conn:
        user = await add_user(conn, email="anna@example.com")
        await accounts.send_link(
            conn, "reset-password", Purpose.RESET, user, "anna@example.com", now=NOON
        )
        row = (await conn.execute(select(table))).one()
        [seed] = (await link_tokens.seeds(conn, [row.notification_id])).values()
    token = link_tokens.token(seed, KEY)
    async with transaction(engine) as conn:
        await link_tokens.redeem(conn, token, Purpose.RESET, secret_key=KEY, now=NOON)
        left = await conn.scalar(select(func.count()).select_from(table))
        with pytest.raises(BadLink):
            await link_tokens.redeem(conn, token, Purpose.RESET, secret_key=KEY, now=NOON)

    assert left == 0
