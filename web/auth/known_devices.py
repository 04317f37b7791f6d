"""Cookies that mark devices from which an account's owner has signed in before.

Failed attempts from other devices do not throttle a known device. The cookie is signed with the
store's secret key and is valid for one account. It grants no access; it only selects the counter
for failed attempts.
"""

import secrets
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from aiohttp import web

from bookstore import derived_secrets
from bookstore.users import accounts
from web.server.keys import SETTINGS
from web.server.request_context import now
from web.server.transactions import read

#: A device is remembered for this long after the cookie was set.
_COOKIE_LIFETIME = timedelta(days=180)
_NONCE_BYTES = 16
#: A longer value cannot be valid, so its signature is not checked.
_MAX_VALUE_CHARS = 100


class Device(NamedTuple):
    """A device from which an account's owner has signed in, and since when it is known."""

    id: str
    since: datetime


def find(request: web.Request, email: str) -> Device | None:
    """The device, if the account's owner has signed in from it before.

    It counts only if the account was not secured since (`accounts.secured_at`).
    """
    value = request.cookies.get(_name(request), "")
    content, _, signature = value.rpartition(".")
    if not content or len(value) > _MAX_VALUE_CHARS:
        return None
    secret_key = request.config_dict[SETTINGS].secret_key
    if not derived_secrets.verify(signature, secret_key, _purpose(email, content)):
        return None
    nonce, _, since = content.partition(".")
    # In microseconds; cookies of earlier releases have no time.
    return Device(nonce, datetime.fromtimestamp(int(since or 0) / 1e6, UTC))


async def remember(request: web.Request, response: web.StreamResponse, email: str) -> None:
    """Set the cookie that marks this device as known for this account."""
    if await is_known(request, email):
        return
    settings = request.config_dict[SETTINGS]
    content = f"{secrets.token_urlsafe(_NONCE_BYTES)}.{int(now().timestamp() * 1e6) + 1}"
    signature = derived_secrets.text(settings.secret_key, _purpose(email, content))
    response.set_cookie(
        _name(request),
        f"{content}.{signature}",
        max_age=int(_COOKIE_LIFETIME.total_seconds()),
        secure=settings.base_url.startswith("https:"),
        httponly=True,
        samesite="Lax",
    )


async def is_known(request: web.Request, email: str) -> bool:
    """Whether the owner has signed in from this device since the account was secured."""
    return await known_id(request, email) is not None


async def known_id(request: web.Request, email: str) -> str | None:
    """The id of the device, if it is known."""
    device = find(request, email)
    if device is None:
        return None
    secured_at = await read(request, accounts.secured_at, email)
    return device.id if secured_at is None or device.since >= secured_at else None


def _purpose(email: str, content: str) -> str:
    return f"device {content} {accounts.email_key(email)}"


def _name(request: web.Request) -> str:
    secure = request.config_dict[SETTINGS].base_url.startswith("https:")
    return "__Host-device" if secure else "device"
