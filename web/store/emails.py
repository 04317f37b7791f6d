"""Confirming and changing the e-mail address of an account, by links in e-mails."""

from aiohttp import web

from bookstore.database.engine import transaction
from bookstore.errors import BadCredentials, Invalid
from bookstore.i18n import _
from bookstore.notifications import link_tokens
from bookstore.notifications.link_tokens import Link, Purpose
from bookstore.users import email_change
from web.auth.credentials import confirm_password
from web.auth.login_throttle import throttle_email
from web.auth.sessions import current_user, own_session
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import minimum_duration, now
from web.server.transactions import read, write
from web.store import flash, forms
from web.store.rendering import form_page, page

#: The URL of these pages contains a secret, which must not leak in a `Referer` header.
NO_REFERRER = {"Referrer-Policy": "no-referrer"}


async def show_link(request: web.Request) -> web.Response:
    """GET /verify-email/{token}: a page with a button, because mail programs may open links."""
    link = await find_link(request, Purpose.VERIFY, Purpose.CHANGE)
    shown = {"email": link.email, "changes": link.purpose is Purpose.CHANGE}
    response = await page(request, "verify_email.html", link=shown)
    response.headers.update(NO_REFERRER)
    return response


async def find_link(request: web.Request, *purposes: Purpose) -> Link:
    """The link whose token is in the URL.

    Raises:
        BadLink: it was used before, has expired or does not exist.
    """
    secret_key, token = request.config_dict[SETTINGS].secret_key, request.match_info["token"]
    return await read(request, link_tokens.find, token, *purposes, secret_key=secret_key, now=now())


async def confirm(request: web.Request) -> web.Response:
    """POST /verify-email/{token}."""
    own = await own_session(request)
    secret_key, token = request.config_dict[SETTINGS].secret_key, request.match_info["token"]
    user = await write(
        request, email_change.confirm, token, session_id=own, secret_key=secret_key, now=now()
    )
    await flash.add(request, "ok", _("Thank you: %s is confirmed.") % user.email)
    raise web.HTTPSeeOther("/account", headers=NO_REFERRER)


async def request_verification(request: web.Request) -> web.Response:
    """POST /account/email/verification: send the confirmation e-mail again."""
    user = current_user(request)
    try:
        async with throttle_email(request, user.email):
            await write(request, email_change.request_verification, user, now=now())
    except TooManyAttempts as error:
        raise await flash.redirect(request, "/account", "bad", error.translated()) from None
    text = _("We are sending an e-mail with a link to %s.") % user.email
    raise await flash.redirect(request, "/account", "ok", text)


async def show_change(request: web.Request) -> web.Response:
    """GET /account/email."""
    return await form_page(request, "account_email.html")


async def change(request: web.Request) -> web.Response:
    """POST /account/email: send a link to the new address, and notify the old one."""
    form = await forms.read(request)
    email = form.get("email", "")
    try:
        user = await confirm_password(request, form.get("password", ""))
        async with (
            minimum_duration(),
            throttle_email(request, user.email),
            transaction(request.config_dict[ENGINE]) as conn,
        ):
            await email_change.request_change(conn, user, email, now=now())
    except (BadCredentials, Invalid, TooManyAttempts) as error:
        return await form_page(request, "account_email.html", error, typed=form)
    text = _("We are sending an e-mail to %s. Confirm the change with the link in it.")
    raise await flash.redirect(request, "/account", "ok", text % email.strip())
