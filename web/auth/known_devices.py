"""Devices that their owners have signed in from: strangers' wrong passwords do not stop them.

The cookie is signed with the store's secret and fits one account only.  It opens nothing; it
says from where a password comes.
"""

import secrets
from datetime import timedelta

from aiohttp import web

from bookstore import derived_secrets
from bookstore.users import accounts
from web.server.keys import SETTINGS

#: As long as somebody may stay away and still be known.
_KEPT = timedelta(days=180)
_NONCE_BYTES = 16
#: What is longer was not made here.
_LONGEST = 100


def known(request: web.Request, email: str) -> str | None:
    """The name of the device, if this account's owner has signed in from it before."""
    value = request.cookies.get(_name(request), "")
    nonce, _, signature = value.partition(".")
    if not signature or len(value) > _LONGEST:
        return None
    secret_key = request.config_dict[SETTINGS].secret_key
    return nonce if derived_secrets.fits(signature, secret_key, _purpose(email, nonce)) else None


def remember(request: web.Request, response: web.StreamResponse, email: str) -> None:
    """Know the device again when it comes for this account."""
    if known(request, email) is not None:
        return
    settings = request.config_dict[SETTINGS]
    nonce = secrets.token_urlsafe(_NONCE_BYTES)
    signature = derived_secrets.text(settings.secret_key, _purpose(email, nonce))
    response.set_cookie(
        _name(request),
        f"{nonce}.{signature}",
        max_age=int(_KEPT.total_seconds()),
        secure=settings.base_url.startswith("https:"),
        httponly=True,
        samesite="Lax",
    )


def _purpose(email: str, nonce: str) -> str:
    return f"device {nonce} {accounts.key_of(email)}"


def _name(request: web.Request) -> str:
    secure = request.config_dict[SETTINGS].base_url.startswith("https:")
    return "__Host-device" if secure else "device"
