"""Personal API tokens, created and revoked by their owner."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from aiohttp import web

from bookstore.catalogue.validation import single_line
from bookstore.errors import BookstoreError, Invalid, NotFound, TooManyTokens
from bookstore.i18n import _
from bookstore.users import api_tokens
from bookstore.users.api_tokens import ApiToken, Scope
from bookstore.users.permissions import is_staff
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import read, write
from web.store import flash, forms
from web.store.rendering import form_page

PATH = "/account/tokens"
LONGEST_NAME = 100
#: Lifetimes in days that the form offers; None means no expiry.
LIFETIMES = {"1": 1, "30": 30, "90": 90, "365": 365}


async def show(request: web.Request) -> web.Response:
    """GET /account/tokens."""
    return await _page(request)


async def create(request: web.Request) -> web.Response:
    """POST /account/tokens: create a token.  Only this response shows it."""
    form = await forms.read(request)
    try:
        made, token = await write(
            request,
            api_tokens.make,
            current_user(request).id,
            name=single_line("name", form.get("name", ""), LONGEST_NAME),
            scopes=[scope for scope in Scope if form.get(f"scope-{scope}")],
            expires_at=_expiry(form.get("days", "")),
            now=now(),
        )
    except (Invalid, TooManyTokens) as error:
        return await _page(request, form, error)
    return await _page(request, made=made, token=token)


async def end(request: web.Request) -> web.Response:
    """POST /account/tokens/{token_id}: revoke the token."""
    kind, text = "ok", _("The token was revoked.")
    try:
        token_id = int(request.match_info["token_id"])
        await write(request, api_tokens.end, current_user(request).id, token_id)
    except NotFound:
        kind, text = "info", _("The token was already revoked.")
    raise await flash.redirect(request, PATH, kind, text)


def _expiry(days: str) -> datetime | None:
    lasts = LIFETIMES.get(days)
    # With a minute to spare: the time of the request is a little later.
    return now() + timedelta(days=lasts) - timedelta(minutes=1) if lasts else None


async def _page(
    request: web.Request,
    typed: Mapping[str, str] | None = None,
    error: BookstoreError | None = None,
    *,
    made: ApiToken | None = None,
    token: str | None = None,
) -> web.Response:
    user = current_user(request)
    scopes = [
        scope
        for scope in Scope
        if scope not in (Scope.STAFF, Scope.ELEVATED) or is_staff(user.role)
    ]
    return await form_page(
        request,
        "account_tokens.html",
        error,
        lasts=LIFETIMES,
        made=made,
        moment=now(),
        scopes=scopes,
        token=token,
        tokens=await read(request, api_tokens.of_user, user.id),
        typed=typed or {"scope-read": "yes", "days": "90"},
    )
