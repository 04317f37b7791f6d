"""The second factor: set up, and removed."""

from collections.abc import Mapping
from typing import Any

import segno
from aiohttp import web
from markupsafe import Markup

from bookstore.database.engine import reading, transaction
from bookstore.errors import (
    BadCode,
    BadCredentials,
    BookstoreError,
    SecondFactorNotBegun,
    SecondFactorOn,
)
from bookstore.i18n import _
from bookstore.users import two_factor
from bookstore.users.two_factor import Enrolment
from web.auth.credentials import enable_second_factor, remove_second_factor
from web.auth.sessions import me
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, ENROLS, SETTINGS
from web.server.request_context import now
from web.server.route_access import Open, authorize
from web.store import flash, forms
from web.store.rendering import page
from web.store.sign_in import refused

PATH = "/account/second-factor"


async def show(request: web.Request) -> web.Response:
    """GET /account/second-factor."""
    return await _page(request)


async def begin(request: web.Request) -> web.Response:
    """POST /account/second-factor: a new seed, to be scanned."""
    settings = request.config_dict[SETTINGS]
    try:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await two_factor.begin(
                conn,
                me(request).id,
                issuer=settings.store_name,
                secret_key=settings.secret_key,
                now=now(),
            )
    except SecondFactorOn as error:
        await flash.leave(request, "info", error.said())
    raise web.HTTPSeeOther(PATH)


async def enable(request: web.Request) -> web.Response:
    """POST /account/second-factor/code: the one page that shows the recovery codes."""
    form = await forms.read(request)
    try:
        codes = await enable_second_factor(request, form.get("code", ""))
    except BadCode as error:
        return await _page(request, {"code": error.said()})
    except TooManyAttempts as error:
        return refused(await _page(request, refusal=error), error)
    except (SecondFactorOn, SecondFactorNotBegun):  # The form of a page of yesterday.
        raise web.HTTPSeeOther(PATH) from None
    return await page(request, "recovery_codes.html", codes=codes)


async def remove(request: web.Request) -> web.Response:
    """POST /account/second-factor/remove."""
    form = await forms.read(request)
    try:
        await remove_second_factor(request, form.get("password", ""))
    except BadCredentials:
        return await _page(request, {"password": _("This is not your password.")})
    except TooManyAttempts as error:
        return refused(await _page(request, refusal=error), error)
    await flash.leave(request, "ok", _("Your account asks for the password alone again."))
    raise web.HTTPSeeOther("/account")


async def _page(
    request: web.Request,
    faults: Mapping[str, str] | None = None,
    *,
    refusal: BookstoreError | None = None,
) -> web.Response:
    user = me(request)
    enrolment, left = None, 0
    if user.second_factor:
        async with reading(request.config_dict[ENGINE]) as conn:
            left = await two_factor.codes_left(conn, user.id)
    else:
        enrolment = await _begun(request, user.id)
    content: dict[str, Any] = {
        "codes_left": left,
        "enrolment": enrolment,
        "faults": faults or {},
        "forced": request.get(ENROLS, False),
        "picture": _picture(enrolment) if enrolment else None,
        "refusal": refusal,
    }
    return await page(
        request, "account_second_factor.html", status=422 if faults else 200, **content
    )


async def _begun(request: web.Request, user_id: int) -> Enrolment | None:
    """The seed that waits for its first code, for whoever has just typed their password."""
    await authorize(request, Open.CONFIRMED)
    settings = request.config_dict[SETTINGS]
    async with reading(request.config_dict[ENGINE]) as conn:
        try:
            return await two_factor.begun_with(
                conn, user_id, issuer=settings.store_name, secret_key=settings.secret_key
            )
        except SecondFactorNotBegun:
            return None


def _picture(enrolment: Enrolment) -> Markup:
    """The QR code as SVG without a style of its own, dark on light whatever the theme."""
    drawn: str = segno.make(enrolment.uri, error="m").svg_inline(
        scale=5, dark="#000", light="#fff", svgclass="qr", lineclass=None
    )
    return Markup(drawn)  # noqa: S704 - drawn by us, from squares
