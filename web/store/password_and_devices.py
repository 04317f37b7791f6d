"""The password of an account, and the devices that are signed in."""

from collections.abc import Mapping

from aiohttp import web

from bookstore.database.engine import reading, transaction
from bookstore.errors import BadCredentials, BookstoreError, Invalid, NotFound
from bookstore.i18n import N_, _
from bookstore.users import accounts, sessions
from web.auth.credentials import confirm_password
from web.auth.login_throttle import throttle_password
from web.auth.sessions import current_user, session_id, sign_in
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, forms
from web.store.rendering import page
from web.store.sign_in import refused

_WRONG = N_("This password is incorrect.")


async def show_confirmation(request: web.Request) -> web.Response:
    """GET /account/confirm: ask for the password again; `next` is the page to continue with."""
    return await _confirmation_page(request, request.query.get("next"))


async def confirm(request: web.Request) -> web.Response:
    """POST /account/confirm."""
    form = await forms.read(request)
    try:
        await confirm_password(request, form.get("password", ""))
    except BadCredentials:
        return await _confirmation_page(request, form.get("next"), {"password": _(_WRONG)})
    except TooManyAttempts as error:
        return refused(await _confirmation_page(request, form.get("next"), refusal=error), error)
    raise web.HTTPSeeOther(forms.local(form.get("next"), "/account"))


async def show_password(request: web.Request) -> web.Response:
    """GET /account/password."""
    return await _password_page(request)


async def change_password(request: web.Request) -> web.Response:
    """POST /account/password: change it and sign out all other devices."""
    form, user = await forms.read(request), current_user(request)
    try:
        async with throttle_password(request, user.email):
            await accounts.change_password(
                request.config_dict[ENGINE],
                user,
                current=form.get("current", ""),
                new=form.get("password", ""),
                session_id=await session_id(request),
                now=now(),
            )
    except BadCredentials:
        return await _password_page(request, {"current": _(_WRONG)})
    except Invalid as error:
        return await _password_page(request, {error.field: error.translated()})
    except TooManyAttempts as error:
        return refused(await _password_page(request, refusal=error), error)
    await sign_in(request, user)
    await flash.add(request, "ok", _("Your password is changed. All other devices are signed out."))
    raise web.HTTPSeeOther("/account")


async def show_sessions(request: web.Request) -> web.Response:
    """GET /account/sessions."""
    here = await session_id(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await sessions.of_user(conn, current_user(request).id, now=now(), here=here)
    return await page(request, "account_sessions.html", devices=found)


async def end_session(request: web.Request) -> web.Response:
    """POST /account/sessions/{session}: sign out that device."""
    try:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await sessions.end_device(conn, current_user(request).id, request.match_info["session"])
    except NotFound:
        # The session has expired, or another request ended it.
        await flash.add(request, "info", _("The device was already signed out."))
    else:
        await flash.add(request, "ok", _("The device is signed out."))
    raise web.HTTPSeeOther("/account/sessions")


async def end_other_sessions(request: web.Request) -> web.Response:
    """POST /account/sessions: sign out all other devices."""
    here = await session_id(request)
    async with transaction(request.config_dict[ENGINE]) as conn:
        await sessions.end_all(conn, current_user(request).id, except_id=here)
    await flash.add(request, "ok", _("All other devices are signed out."))
    raise web.HTTPSeeOther("/account/sessions")


async def _confirmation_page(
    request: web.Request,
    following: str | None,
    faults: Mapping[str, str] | None = None,
    *,
    refusal: BookstoreError | None = None,
) -> web.Response:
    return await page(
        request,
        "confirm.html",
        status=401 if faults else 200,
        next=forms.local(following, ""),
        faults=faults or {},
        refusal=refusal,
    )


async def _password_page(
    request: web.Request,
    faults: Mapping[str, str] | None = None,
    *,
    refusal: BookstoreError | None = None,
) -> web.Response:
    return await page(
        request,
        "account_password.html",
        status=422 if faults else 200,
        faults=faults or {},
        refusal=refusal,
    )
