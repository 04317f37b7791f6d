"""The password of an account, and the devices that are signed in."""

from aiohttp import web

from bookstore.errors import BadCredentials, BookstoreError, Invalid, NotFound
from bookstore.i18n import _
from bookstore.users import accounts, sessions
from web.auth.credentials import confirm_password
from web.auth.login_throttle import throttle_password
from web.auth.sessions import current_user, session_id, sign_in
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE
from web.server.request_context import now
from web.server.transactions import read, write
from web.store import flash, forms
from web.store.rendering import form_page, page


async def show_confirmation(request: web.Request) -> web.Response:
    """GET /account/confirm: ask for the password again; `next` is the page to continue with."""
    return await _confirmation_page(request, request.query.get("next"))


async def confirm(request: web.Request) -> web.Response:
    """POST /account/confirm."""
    form = await forms.read(request)
    try:
        await confirm_password(request, form.get("password", ""))
    except (BadCredentials, TooManyAttempts) as error:
        return await _confirmation_page(request, form.get("next"), error)
    raise web.HTTPSeeOther(forms.local(form.get("next"), "/account"))


async def show_password(request: web.Request, error: BookstoreError | None = None) -> web.Response:
    """GET /account/password; after an error in its form, with the message."""
    fields: dict[type[BookstoreError], str] = {BadCredentials: "current"}
    return await form_page(request, "account_password.html", error, fields=fields)


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
    except (BadCredentials, Invalid, TooManyAttempts) as error:
        return await show_password(request, error)
    await sign_in(request, user)
    text = _("Your password is changed. All other devices are signed out.")
    raise await flash.redirect(request, "/account", "ok", text)


async def show_sessions(request: web.Request) -> web.Response:
    """GET /account/sessions."""
    user, here = current_user(request), await session_id(request)
    found = await read(request, sessions.of_user, user.id, now=now(), here=here)
    return await page(request, "account_sessions.html", devices=found)


async def end_session(request: web.Request) -> web.Response:
    """POST /account/sessions/{session}: sign out that device."""
    kind, text = "ok", _("The device is signed out.")
    try:
        device_id = request.match_info["session"]
        await write(request, sessions.end_device, current_user(request).id, device_id)
    except NotFound:
        # The session has expired, or another request ended it.
        kind, text = "info", _("The device was already signed out.")
    raise await flash.redirect(request, "/account/sessions", kind, text)


async def end_other_sessions(request: web.Request) -> web.Response:
    """POST /account/sessions: sign out all other devices."""
    user, here = current_user(request), await session_id(request)
    await write(request, sessions.end_all, user.id, except_id=here)
    text = _("All other devices are signed out.")
    raise await flash.redirect(request, "/account/sessions", "ok", text)


async def _confirmation_page(
    request: web.Request, following: str | None, error: BookstoreError | None = None
) -> web.Response:
    back = forms.local(following, "")
    return await form_page(request, "confirm.html", error, invalid_status=401, next=back)
