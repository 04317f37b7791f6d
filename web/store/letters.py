"""What we have told a user, and which letters they want."""

from dataclasses import asdict

from aiohttp import web

from bookstore import notifications, preferences
from bookstore.db import reading, retrying, transaction
from bookstore.errors import Invalid, NotFound
from bookstore.locales import _
from bookstore.preferences import Preferences
from web.keys import ENGINE
from web.requests import now
from web.sessions import me
from web.store import forms, notices
from web.store.page import page


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

    await retrying(work)
    await notices.leave(request, "ok", _("Saved."))
    raise web.HTTPSeeOther("/account/letters")
