"""Export and erasure of a user's personal data."""

from typing import Any

from aiohttp import web

from bookstore.errors import BadCredentials, BookstoreError, EmailBeingSent, Invalid, OrdersOpen
from bookstore.i18n import N_
from web.auth import erasure, sessions
from web.auth.credentials import check_password
from web.auth.sessions import current_user
from web.server.errors import TooManyAttempts
from web.store import forms
from web.store.rendering import form_page, page

_UNSURE = N_("Please tick this box to confirm.")


async def show(
    request: web.Request, error: BookstoreError | None = None, **content: Any
) -> web.Response:
    """GET /account/data; after an error in its form, with the message."""
    return await form_page(request, "account_data.html", error, **{"open_orders": []} | content)


async def erase(request: web.Request) -> web.Response:
    """POST /account/data: erase all personal data, after the password and a confirmation."""
    form, user = await forms.read(request), current_user(request)
    if "sure" not in form:
        return await show(request, Invalid("sure", _UNSURE))
    try:
        await check_password(request, user.email, form.get("password", ""))
        await erasure.erase(request, user.id)
    except (BadCredentials, TooManyAttempts) as error:
        return await show(request, error)
    except (OrdersOpen, EmailBeingSent, Invalid) as error:
        numbers = error.orders if isinstance(error, OrdersOpen) else []
        return await show(request, status=409, refusal=error, open_orders=numbers)
    await sessions.sign_out(request)
    response = await page(request, "erased.html")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response
