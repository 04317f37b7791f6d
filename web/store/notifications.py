"""A user's notifications, and their e-mail preferences."""

from dataclasses import asdict

from aiohttp import web

from bookstore import notifications
from bookstore.errors import Invalid, NotFound
from bookstore.i18n import _
from bookstore.notifications import preferences
from bookstore.notifications.preferences import Preferences
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import read, write
from web.store import flash, forms
from web.store.rendering import page


async def show_all(request: web.Request) -> web.Response:
    """GET /account/notifications: the user's notifications, newest first."""
    cursor = request.query.get("cursor")
    try:
        found = await read(request, notifications.of_user, current_user(request).id, cursor=cursor)
    except Invalid:  # The cursor is not one of ours.
        raise NotFound from None
    return await page(request, "account_notifications.html", cursor=cursor, found=found)


async def mark_read(request: web.Request) -> web.Response:
    """POST /account/notifications/{notification_id}: mark it as read."""
    notification_id = int(request.match_info["notification_id"])
    user_id = current_user(request).id
    await write(request, notifications.mark_read, notification_id, user_id=user_id, now=now())
    raise web.HTTPSeeOther("/account/notifications")


async def show(request: web.Request) -> web.Response:
    """GET /account/emails: the e-mail preferences."""
    chosen = await read(request, preferences.of_user, current_user(request).id)
    return await page(request, "account_email_preferences.html", chosen=asdict(chosen))


async def choose(request: web.Request) -> web.Response:
    """POST /account/emails: change the preferences; an unticked box turns an e-mail off."""
    form = await forms.read(request)
    chosen = {name: name in form for name in Preferences.__slots__}
    await write(request, preferences.change, current_user(request).id, chosen, now=now())
    raise await flash.redirect(request, "/account/emails", "ok", _("Saved."))


async def redirect_old(request: web.Request) -> web.Response:
    """GET and POST /account/letters: the path of the preferences before version 1.0.0."""
    raise web.HTTPPermanentRedirect("/account/emails")
