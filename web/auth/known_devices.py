"""Cookies that mark devices from which an account's owner has signed in before.

Failed attempts from other devices do not throttle a known device. The cookie is signed with the
store's secret key and is valid for one account. It grants no access; it only selects the counter
for failed attempts.
"""

import secrets
from datetime import timedelta

from aiohttp import web

from bookstore import derived_secrets
from bookstore.users import accounts
from web.server.keys import SETTINGS

#: A device is remembered for this long after the cookie was set.
_COOKIE_LIFETIME = timedelta(days=180)
_NONCE_BYTES = 16
#: A longer value cannot be valid, so its signature is not checked.
_MAX_VALUE_CHARS = 100


def find(request: web.Request, email: str) -> str | None:
    """The id of the device if the account's owner has signed in from it before, else None."""
    value = request.cookies.get(_name(request), "")
    nonce, _, signature = value.partition(".")
    if not signature or len(value) > _MAX_VALUE_CHARS:
        return None
    secret_key = request.config_dict[SETTINGS].secret_key
    return nonce if derived_secrets.verify(signature, secret_key, _purpose(email, nonce)) else None


def remember(request: web.Request, response: web.StreamResponse, email: str) -> None:
    """Set the cookie that marks this device as known for this account."""
    if find(request, email) is not None:
        return
    settings = request.config_dict[SETTINGS]
    nonce = secrets.token_urlsafe(_NONCE_BYTES)
    signature = derived_secrets.text(settings.secret_key, _purpose(email, nonce))
    response.set_cookie(
        _name(request),
        f"{nonce}.{signature}",
        max_age=int(_COOKIE_LIFETIME.total_seconds()),
        secure=settings.base_url.startswith("https:"),
        httponly=True,
        samesite="Lax",
    )


def _purpose(email: str, nonce: str) -> str:
    return f"device {nonce} {accounts.email_key(email)}"


def _name(request: web.Request) -> str:
    secure = request.config_dict[SETTINGS].base_url.startswith("https:")
    return "__Host-device" if secure else "device"
