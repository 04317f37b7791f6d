"""Confirming and changing the e-mail address of an account, by links in e-mails."""

from collections.abc import Mapping

from aiohttp import web

from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BadCredentials, BookstoreError, Invalid
from bookstore.i18n import _
from bookstore.notifications import link_tokens
from bookstore.notifications.link_tokens import Link, Purpose
from bookstore.users import email_change
from bookstore.users.accounts import User
from web.auth.credentials import confirm_password
from web.auth.login_throttle import throttle_email
from web.auth.sessions import current_user
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import minimum_duration, now
from web.store import flash, forms
from web.store.rendering import page
from web.store.sign_in import refused

_PURPOSES = Purpose.VERIFY, Purpose.CHANGE
#: The URL of these pages contains a secret, which must not leak in a `Referer` header.
NO_REFERRER = {"Referrer-Policy": "no-referrer"}


async def show_link(request: web.Request) -> web.Response:
    """GET /verify-email/{token}: a page with a button, because mail programs may open links."""
    async with reading(request.config_dict[ENGINE]) as conn:
        link = await link_tokens.find(
            conn,
            request.match_info["token"],
            *_PURPOSES,
            secret_key=request.config_dict[SETTINGS].secret_key,
            now=now(),
        )
    response = await page(request, "verify_email.html", link=_shown(link))
    response.headers.update(NO_REFERRER)
    return response


async def confirm(request: web.Request) -> web.Response:
    """POST /verify-email/{token}."""

    async def work() -> User:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await email_change.confirm(
                conn,
                request.match_info["token"],
                secret_key=request.config_dict[SETTINGS].secret_key,
                now=now(),
            )

    user = await retry_transaction(work)
    await flash.add(request, "ok", _("Thank you: %s is confirmed.") % user.email)
    raise web.HTTPSeeOther("/account", headers=NO_REFERRER)


async def request_verification(request: web.Request) -> web.Response:
    """POST /account/email/verification: send the confirmation e-mail again."""
    user = current_user(request)
    try:
        async with (
            throttle_email(request, user.email),
            transaction(request.config_dict[ENGINE]) as conn,
        ):
            await email_change.request_verification(conn, user, now=now())
    except TooManyAttempts as error:
        await flash.add(request, "bad", error.translated())
    else:
        await flash.add(
            request, "ok", _("We are sending an e-mail with a link to %s.") % user.email
        )
    raise web.HTTPSeeOther("/account")


async def show_change(request: web.Request) -> web.Response:
    """GET /account/email."""
    return await _change_page(request, {})


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
    except BadCredentials:
        return await _change_page(request, form, {"password": _("This password is incorrect.")})
    except Invalid as error:
        return await _change_page(request, form, {error.field: error.translated()})
    except TooManyAttempts as error:
        return refused(await _change_page(request, form, refusal=error), error)
    await flash.add(
        request,
        "ok",
        _("We are sending an e-mail to %s. Confirm the change with the link in it.")
        % email.strip(),
    )
    raise web.HTTPSeeOther("/account")


async def _change_page(
    request: web.Request,
    typed: Mapping[str, str],
    faults: Mapping[str, str] | None = None,
    *,
    refusal: BookstoreError | None = None,
) -> web.Response:
    return await page(
        request,
        "account_email.html",
        status=422 if faults else 200,
        typed={"email": typed.get("email", "")},
        faults=faults or {},
        refusal=refusal,
    )


def _shown(link: Link) -> Mapping[str, str | bool]:
    return {"email": link.email, "changes": link.purpose is Purpose.CHANGE}
