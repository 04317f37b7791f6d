"""Who may open the dashboard, and who may do what in it."""

from collections.abc import Mapping
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.typedefs import Handler

from bookstore.errors import NotFound, SecondFactorRequired
from bookstore.users.permissions import Permission, is_staff
from web.auth.sessions import confirmed_lately
from web.server.keys import ENROLS, USER
from web.server.route_access import Access, Open, admit

ACCESS = web.AppKey[Mapping[web.AbstractRoute, Access]]("admin_access")


async def confirmed(request: web.Request, back: str) -> None:
    """Go on only if the password was typed a moment ago; else it is asked for, then `back`."""
    if not await confirmed_lately(request):
        raise web.HTTPSeeOther(f"/account/confirm?{urlencode({'next': back})}")


@web.middleware
async def staff_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let staff in, each where their role may go.

    Guests are asked to sign in, and staff to set up a second factor where they need one.
    Customers find nothing: the dashboard is nothing to them.
    """
    wanted = request.app[ACCESS].get(request.match_info.route, Permission.OPEN_DASHBOARD)
    user = request[USER]
    if wanted is not Open.ANYONE and request.get(ENROLS):
        raise SecondFactorRequired
    if wanted is not Open.ANYONE and user is not None and not is_staff(user.role):
        raise NotFound
    admit(user, wanted)
    return await handler(request)
