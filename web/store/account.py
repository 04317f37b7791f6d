"""A user's own account."""

from collections.abc import Mapping

from aiohttp import web

from bookstore.catalogue.validation import single_line
from bookstore.database.engine import transaction
from bookstore.errors import Invalid
from bookstore.i18n import _
from bookstore.users import accounts
from bookstore.users.permissions import is_staff
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, forms
from web.store.rendering import page
from web.store.sign_in import LONGEST_NAME


async def show(request: web.Request) -> web.Response:
    """GET /account."""
    return await _form(request, {"name": current_user(request).name})


async def change(request: web.Request) -> web.Response:
    """POST /account: change the name."""
    form = await forms.read(request)
    try:
        name = single_line("name", form.get("name", ""), LONGEST_NAME)
    except Invalid as error:
        return await _form(request, form, faults={"name": error.translated()}, status=422)
    async with transaction(request.config_dict[ENGINE]) as conn:
        await accounts.change_name(conn, current_user(request).id, name, now=now())
    await flash.add(request, "ok", _("Saved. Your name is now %s.") % name)
    raise web.HTTPSeeOther("/account")


async def _form(
    request: web.Request,
    typed: Mapping[str, str],
    *,
    faults: Mapping[str, str] | None = None,
    status: int = 200,
) -> web.Response:
    return await page(
        request,
        "account.html",
        status=status,
        typed=typed,
        faults=faults or {},
        staff=is_staff(current_user(request).role),
    )
