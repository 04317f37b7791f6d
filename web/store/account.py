"""A user's own account."""

from collections.abc import Mapping

from aiohttp import web

from bookstore.catalogue.validation import single_line
from bookstore.errors import Invalid
from bookstore.i18n import _
from bookstore.users import accounts
from bookstore.users.permissions import is_staff
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import write
from web.store import flash, forms
from web.store.rendering import form_page
from web.store.sign_in import LONGEST_NAME


async def show(request: web.Request) -> web.Response:
    """GET /account."""
    return await _page(request, {"name": current_user(request).name})


async def change(request: web.Request) -> web.Response:
    """POST /account: change the name."""
    form = await forms.read(request)
    try:
        name = single_line("name", form.get("name", ""), LONGEST_NAME)
    except Invalid as error:
        return await _page(request, form, error)
    await write(request, accounts.change_name, current_user(request).id, name, now=now())
    text = _("Saved. Your name is now %s.") % name
    raise await flash.redirect(request, "/account", "ok", text)


async def _page(
    request: web.Request, typed: Mapping[str, str], error: Invalid | None = None
) -> web.Response:
    staff = is_staff(current_user(request).role)
    return await form_page(request, "account.html", error, typed=typed, staff=staff)
