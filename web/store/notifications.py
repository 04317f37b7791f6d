"""A user's notifications, and their e-mail preferences."""

from dataclasses import asdict

from aiohttp import web

from bookstore import notifications
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import Invalid, NotFound
from bookstore.i18n import _
from bookstore.notifications import preferences
from bookstore.notifications.preferences import Preferences
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, forms
from web.store.rendering import page


async def show_all(request: web.Request) -> web.Response:
    """GET /account/notifications: the user's notifications, newest first."""
    cursor = request.query.get("cursor")
    async with reading(request.config_dict[ENGINE]) as conn:
        try:
            found = await notifications.of_user(conn, current_user(request).id, cursor=cursor)
        except Invalid:  # The cursor is not one of ours.
            raise NotFound from None
    return await page(request, "account_notifications.html", cursor=cursor, found=found)


async def read(request: web.Request) -> web.Response:
    """POST /account/notifications/{notification_id}: mark it as read."""
    notification_id = int(request.match_info["notification_id"])
    async with transaction(request.config_dict[ENGINE]) as conn:
        await notifications.mark_read(
            conn, notification_id, user_id=current_user(request).id, now=now()
        )
    raise web.HTTPSeeOther("/account/notifications")


async def show(request: web.Request) -> web.Response:
    """GET /account/emails: the e-mail preferences."""
    async with reading(request.config_dict[ENGINE]) as conn:
        chosen = await preferences.of_user(conn, current_user(request).id)
    return await page(request, "account_email_preferences.html", chosen=asdict(chosen))


async def choose(request: web.Request) -> web.Response:
    """POST /account/emails: change the preferences; an unticked box turns an e-mail off."""
    form = await forms.read(request)
    chosen = {name: name in form for name in Preferences.__slots__}

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await preferences.change(conn, current_user(request).id, chosen, now=now())

    await retry_transaction(work)
    await flash.add(request, "ok", _("Saved."))
    raise web.HTTPSeeOther("/account/emails")


async def redirect_old_path(request: web.Request) -> web.Response:
    """GET and POST /account/letters: the path of the preferences before version 1.0.0."""
    raise web.HTTPPermanentRedirect("/account/emails")
