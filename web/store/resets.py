"""Password reset: an e-mail with a link, and a page to set a new password."""

from collections.abc import Mapping

from aiohttp import web

from bookstore.database.engine import reading
from bookstore.errors import BookstoreError, Invalid
from bookstore.i18n import _
from bookstore.notifications import link_tokens
from bookstore.notifications.link_tokens import Purpose
from bookstore.users import password_reset
from web.auth import known_devices
from web.auth.login_throttle import clear_failures
from web.auth.password_reset import request_reset as ask_for
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now
from web.store import flash, forms
from web.store.emails import NO_REFERRER
from web.store.rendering import page
from web.store.sign_in import refused


async def show(request: web.Request) -> web.Response:
    """GET /forgot-password."""
    return await _request_page(request, {})


async def send_link(request: web.Request) -> web.Response:
    """POST /forgot-password: the same response whether the account exists or not."""
    form = await forms.read(request)
    try:
        await ask_for(request, form.get("email", ""))
    except TooManyAttempts as error:
        return refused(await _request_page(request, form, refusal=error), error)
    return await page(request, "email_sent.html", email=form.get("email", ""))


async def show_link(request: web.Request) -> web.Response:
    """GET /reset-password/{token}."""
    return await _new_password_page(request)


async def reset(request: web.Request) -> web.Response:
    """POST /reset-password/{token}: set the password and redirect to the sign-in page."""
    form = await forms.read(request)
    try:
        user = await password_reset.reset(
            request.config_dict[ENGINE],
            request.match_info["token"],
            form.get("password", ""),
            secret_key=request.config_dict[SETTINGS].secret_key,
            now=now(),
        )
    except Invalid as error:
        return await _new_password_page(request, {error.field: error.translated()})
    await clear_failures(request, user.email)
    await flash.add(
        request,
        "ok",
        _("Your new password is set, and all devices are signed out. Please sign in."),
    )
    back = web.HTTPSeeOther("/sign-in", headers=NO_REFERRER)
    known_devices.remember(request, back, user.email)
    raise back


async def _request_page(
    request: web.Request, typed: Mapping[str, str], *, refusal: BookstoreError | None = None
) -> web.Response:
    return await page(
        request,
        "forgot_password.html",
        typed={"email": typed.get("email", "")},
        refusal=refusal,
    )


async def _new_password_page(
    request: web.Request, faults: Mapping[str, str] | None = None
) -> web.Response:
    async with reading(request.config_dict[ENGINE]) as conn:
        link = await link_tokens.find(
            conn,
            request.match_info["token"],
            Purpose.RESET,
            secret_key=request.config_dict[SETTINGS].secret_key,
            now=now(),
        )
    response = await page(
        request,
        "reset_password.html",
        status=422 if faults else 200,
        email=link.email,
        faults=faults or {},
    )
    response.headers.update(NO_REFERRER)
    return response
