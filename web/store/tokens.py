"""Personal API tokens, created and revoked by their owner."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from bookstore.catalogue.validation import single_line
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BookstoreError, Invalid, NotFound, TooManyTokens
from bookstore.i18n import _
from bookstore.users import api_tokens
from bookstore.users.api_tokens import ApiToken, Scope
from bookstore.users.permissions import is_staff
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, forms
from web.store.rendering import page
from web.store.sign_in import refused

PATH = "/account/tokens"
LONGEST_NAME = 100
#: Lifetimes in days that the form offers; None means no expiry.
LIFETIMES = {"30": 30, "90": 90, "365": 365, "": None}


async def show(request: web.Request) -> web.Response:
    """GET /account/tokens."""
    return await _page(request)


async def create(request: web.Request) -> web.Response:
    """POST /account/tokens: create a token.  Only this response shows it."""
    form = await forms.read(request)
    scopes = [scope for scope in Scope if form.get(f"scope-{scope}")]

    async def work() -> tuple[ApiToken, str]:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await api_tokens.make(
                conn,
                current_user(request).id,
                name=single_line("name", form.get("name", ""), LONGEST_NAME),
                scopes=scopes,
                expires_at=_expiry(form.get("days", "")),
                now=now(),
            )

    try:
        made, token = await retry_transaction(work)
    except Invalid as error:
        return await _page(request, form, faults={error.field: error.translated()}, status=422)
    except TooManyTokens as error:
        return refused(await _page(request, form, refusal=error), error)
    return await _page(request, made=made, token=token)


async def end(request: web.Request) -> web.Response:
    """POST /account/tokens/{token_id}: revoke the token."""
    try:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await api_tokens.end(
                conn, current_user(request).id, int(request.match_info["token_id"])
            )
    except NotFound:
        await flash.add(request, "info", _("The token was already revoked."))
    else:
        await flash.add(request, "ok", _("The token was revoked."))
    raise web.HTTPSeeOther(PATH)


def _expiry(days: str) -> datetime | None:
    lasts = LIFETIMES.get(days)
    return now() + timedelta(days=lasts) if lasts else None


async def _page(
    request: web.Request,
    typed: Mapping[str, str] | None = None,
    *,
    faults: Mapping[str, str] | None = None,
    made: ApiToken | None = None,
    token: str | None = None,
    refusal: BookstoreError | None = None,
    status: int = 200,
) -> web.Response:
    user = current_user(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await api_tokens.of_user(conn, user.id)
    scopes = [scope for scope in Scope if scope is not Scope.STAFF or is_staff(user.role)]
    content: dict[str, Any] = {
        "faults": faults or {},
        "lasts": LIFETIMES,
        "made": made,
        "moment": now(),
        "refusal": refusal,
        "scopes": scopes,
        "token": token,
        "tokens": found,
        "typed": typed or {"scope-read": "yes", "days": "90"},
    }
    return await page(request, "account_tokens.html", status=status, **content)
