"""Who may open the dashboard, and who may do what in it."""

from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from bookstore.errors import NotFound, SecondFactorRequired
from bookstore.permissions import Permission, is_staff
from web.access import Access, Open, admit
from web.keys import ENROLS, USER

ACCESS = web.AppKey[Mapping[web.AbstractRoute, Access]]("admin_access")


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
