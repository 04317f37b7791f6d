"""Password reset: an e-mail with a link, and a page to set a new password."""

from aiohttp import web

from bookstore.errors import Invalid
from bookstore.i18n import _
from bookstore.notifications.link_tokens import Purpose
from bookstore.users import password_reset
from web.auth import known_devices
from web.auth.login_throttle import clear_failures
from web.auth.password_reset import request_reset as ask_for
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now
from web.store import flash, forms
from web.store.emails import NO_REFERRER, find_link
from web.store.rendering import form_page, page


async def show(request: web.Request) -> web.Response:
    """GET /forgot-password."""
    return await form_page(request, "forgot_password.html")


async def send_link(request: web.Request) -> web.Response:
    """POST /forgot-password: the same response whether the account exists or not."""
    form = await forms.read(request)
    try:
        await ask_for(request, form.get("email", ""))
    except TooManyAttempts as error:
        return await form_page(request, "forgot_password.html", error, typed=form)
    return await page(request, "email_sent.html", email=form.get("email", ""))


async def show_link(request: web.Request, error: Invalid | None = None) -> web.Response:
    """GET /reset-password/{token}; after an error in its form, with the message."""
    link = await find_link(request, Purpose.RESET)
    response = await form_page(request, "reset_password.html", error, email=link.email)
    response.headers.update(NO_REFERRER)
    return response


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
        return await show_link(request, error)
    await clear_failures(request, user.email)
    text = _("Your new password is set, and all devices are signed out. Please sign in.")
    await flash.add(request, "ok", text)
    back = web.HTTPSeeOther("/sign-in", headers=NO_REFERRER)
    await known_devices.remember(request, back, user.email)
    raise back
