"""Export and erasure of a user's personal data."""

from collections.abc import Mapping

from aiohttp import web

from bookstore.errors import BadCredentials, BookstoreError, EmailBeingSent, Invalid, OrdersOpen
from bookstore.i18n import N_, _
from web.auth import erasure, sessions
from web.auth.credentials import check_password
from web.auth.sessions import current_user
from web.server.errors import TooManyAttempts
from web.store import forms
from web.store.rendering import page
from web.store.sign_in import refused

_WRONG = N_("This password is incorrect.")
_UNSURE = N_("Please tick this box to confirm.")


async def show(request: web.Request) -> web.Response:
    """GET /account/data."""
    return await _page(request)


async def erase(request: web.Request) -> web.Response:
    """POST /account/data: erase all personal data, after the password and a confirmation."""
    form, user = await forms.read(request), current_user(request)
    if "sure" not in form:
        return await _page(request, {"sure": _(_UNSURE)}, status=422)
    try:
        await check_password(request, user.email, form.get("password", ""))
        await erasure.erase(request, user.id)
    except BadCredentials:
        return await _page(request, {"password": _(_WRONG)}, status=422)
    except TooManyAttempts as error:
        return refused(await _page(request, refusal=error), error)
    except (OrdersOpen, EmailBeingSent, Invalid) as error:
        return await _page(request, refusal=error, status=409)
    await sessions.sign_out(request)
    response = await page(request, "erased.html")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


async def _page(
    request: web.Request,
    faults: Mapping[str, str] | None = None,
    *,
    refusal: BookstoreError | None = None,
    status: int = 200,
) -> web.Response:
    numbers = refusal.orders if isinstance(refusal, OrdersOpen) else []
    return await page(
        request,
        "account_data.html",
        status=status,
        faults=faults or {},
        open_orders=numbers,
        refusal=refusal,
    )
