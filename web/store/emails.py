"""The address of an account: confirmed and changed by links in letters."""

from collections.abc import Mapping

from aiohttp import web

from bookstore import emails, links
from bookstore.db import reading, retrying, transaction
from bookstore.errors import BadCredentials, BookstoreError, Invalid
from bookstore.links import Link, Purpose
from bookstore.locales import _
from bookstore.users import User
from web.credentials import confirm_password
from web.keys import ENGINE, SETTINGS
from web.refusals import TooManyAttempts
from web.requests import no_sooner, now
from web.sessions import me
from web.store import forms, notices
from web.store.page import page
from web.store.sign_in import refused
from web.throttle import writing_to

_PURPOSES = Purpose.VERIFY, Purpose.CHANGE
#: The address of such a page is a secret: no other page is told where the visitor was.
NO_REFERRER = {"Referrer-Policy": "no-referrer"}


async def show_link(request: web.Request) -> web.Response:
    """GET /verify-email/{token}: mail programs follow links, so that a button does the work."""
    async with reading(request.config_dict[ENGINE]) as conn:
        link = await links.look(
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
            return await emails.confirm(
                conn,
                request.match_info["token"],
                secret_key=request.config_dict[SETTINGS].secret_key,
                now=now(),
            )

    user = await retrying(work)
    await notices.leave(request, "ok", _("Thank you: %s is confirmed.") % user.email)
    raise web.HTTPSeeOther("/account", headers=NO_REFERRER)


async def ask_to_verify(request: web.Request) -> web.Response:
    """POST /account/email/verification: another letter."""
    user = me(request)
    try:
        async with (
            writing_to(request, user.email),
            transaction(request.config_dict[ENGINE]) as conn,
        ):
            await emails.ask_to_verify(conn, user, now=now())
    except TooManyAttempts as error:
        await notices.leave(request, "bad", error.said())
    else:
        await notices.leave(
            request, "ok", _("A letter with a link is on its way to %s.") % user.email
        )
    raise web.HTTPSeeOther("/account")


async def show_change(request: web.Request) -> web.Response:
    """GET /account/email."""
    return await _change_page(request, {})


async def change(request: web.Request) -> web.Response:
    """POST /account/email: a letter goes to the new address, and tells the old one."""
    form = await forms.read(request)
    email = form.get("email", "")
    try:
        user = await confirm_password(request, form.get("password", ""))
        async with (
            no_sooner(),
            writing_to(request, user.email),
            transaction(request.config_dict[ENGINE]) as conn,
        ):
            await emails.ask_to_change(conn, user, email, now=now())
    except BadCredentials:
        return await _change_page(request, form, {"password": _("This is not your password.")})
    except Invalid as error:
        return await _change_page(request, form, {error.field: error.said()})
    except TooManyAttempts as error:
        return refused(await _change_page(request, form, refusal=error), error)
    await notices.leave(
        request,
        "ok",
        _("Please answer the letter to %s: its link makes the change.") % email.strip(),
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
