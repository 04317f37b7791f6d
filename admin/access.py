"""Who may open the dashboard, and who may do what in it."""

from aiohttp import web
from aiohttp.typedefs import Handler

from bookstore.errors import NotFound
from bookstore.users.permissions import Permission, is_staff
from web.server.keys import ENROLS, USER
from web.server.route_access import ACCESS, Open, authorize_route


@web.middleware
async def staff_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let staff in, each where their role permits it.

    Guests are asked to sign in, and staff to set up a second factor where they need one.
    Customers get a 404, as if there were no dashboard.
    """
    access = request.app[ACCESS].get(request.match_info.route)
    user = request[USER]
    enrols = request.get(ENROLS, False)
    if access is not Open.ANYONE and user is not None and not enrols and not is_staff(user.role):
        raise NotFound
    await authorize_route(request, Permission.OPEN_DASHBOARD)
    return await handler(request)
