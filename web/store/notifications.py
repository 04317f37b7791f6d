"""What we have told a user, and which letters they want."""

from dataclasses import asdict

from aiohttp import web

from bookstore import notifications
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import Invalid, NotFound
from bookstore.i18n import _
from bookstore.notifications import preferences
from bookstore.notifications.preferences import Preferences
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, forms
from web.store.rendering import page


async def show_all(request: web.Request) -> web.Response:
    """GET /account/notifications: what we have told the user, the newest first."""
    cursor = request.query.get("cursor")
    async with reading(request.config_dict[ENGINE]) as conn:
        try:
            found = await notifications.of_user(conn, me(request).id, cursor=cursor)
        except Invalid:  # A cursor that nobody was given by us.
            raise NotFound from None
    return await page(request, "account_notifications.html", cursor=cursor, found=found)


async def read(request: web.Request) -> web.Response:
    """POST /account/notifications/{notification_id}: it has been read."""
    notification_id = int(request.match_info["notification_id"])
    async with transaction(request.config_dict[ENGINE]) as conn:
        await notifications.mark_read(conn, notification_id, user_id=me(request).id, now=now())
    raise web.HTTPSeeOther("/account/notifications")


async def show(request: web.Request) -> web.Response:
    """GET /account/letters."""
    async with reading(request.config_dict[ENGINE]) as conn:
        chosen = await preferences.of_user(conn, me(request).id)
    return await page(request, "account_letters.html", chosen=asdict(chosen))


async def choose(request: web.Request) -> web.Response:
    """POST /account/letters: what is not ticked is not wanted."""
    form = await forms.read(request)
    chosen = {name: name in form for name in Preferences.__slots__}

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await preferences.change(conn, me(request).id, chosen, now=now())

    await retry_transaction(work)
    await flash.leave(request, "ok", _("Saved."))
    raise web.HTTPSeeOther("/account/letters")
