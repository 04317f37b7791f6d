"""Forgotten passwords: a letter with a link, and a new password."""

from collections.abc import Mapping

from aiohttp import web

from bookstore.database.engine import reading
from bookstore.errors import BookstoreError, Invalid
from bookstore.i18n import _
from bookstore.notifications import link_tokens
from bookstore.notifications.link_tokens import Purpose
from bookstore.users import password_reset
from web.auth import known_devices
from web.auth.login_throttle import forgive
from web.auth.password_reset import ask as ask_for
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now
from web.store import flash, forms
from web.store.emails import NO_REFERRER
from web.store.rendering import page
from web.store.sign_in import refused


async def show(request: web.Request) -> web.Response:
    """GET /forgot-password."""
    return await _asking_page(request, {})


async def ask(request: web.Request) -> web.Response:
    """POST /forgot-password: the same answer, whether there is such an account or not."""
    form = await forms.read(request)
    try:
        await ask_for(request, form.get("email", ""))
    except TooManyAttempts as error:
        return refused(await _asking_page(request, form, refusal=error), error)
    return await page(request, "letter_sent.html", email=form.get("email", ""))


async def show_link(request: web.Request) -> web.Response:
    """GET /reset-password/{token}."""
    return await _new_password_page(request)


async def reset(request: web.Request) -> web.Response:
    """POST /reset-password/{token}: back to the front door, with the new password."""
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
        return await _new_password_page(request, {error.field: error.said()})
    await forgive(request, user.email)
    await flash.leave(
        request,
        "ok",
        _("Your new password is set, and all devices are signed out. Please sign in."),
    )
    back = web.HTTPSeeOther("/sign-in", headers=NO_REFERRER)
    known_devices.remember(request, back, user.email)
    raise back


async def _asking_page(
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
        link = await link_tokens.look(
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
