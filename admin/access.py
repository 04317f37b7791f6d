"""Access to the dashboard and to its pages."""

from datetime import datetime
from typing import TypedDict

from aiohttp import web
from aiohttp.typedefs import Handler

from bookstore.errors import NotFound
from bookstore.users.permissions import Permission, is_staff
from web.auth.sessions import current_user
from web.server.keys import ENROLMENT_REQUIRED, USER
from web.server.request_context import now
from web.server.route_access import ACCESS, AccessLevel, authorize_route


@web.middleware
async def staff_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Allow each member of staff the pages that their role permits.

    Guests are redirected to the sign-in page, and staff without a required second factor to its
    set-up.  Customers get a 404, so the response does not reveal that the dashboard exists.
    """
    access = request.app[ACCESS].get(request.match_info.route)
    user = request[USER]
    enrols = request.get(ENROLMENT_REQUIRED, False)
    if (
        access is not AccessLevel.ANYONE
        and user is not None
        and not enrols
        and not is_staff(user.role)
    ):
        raise NotFound
    await authorize_route(request, Permission.OPEN_DASHBOARD)
    return await handler(request)


class MadeBy(TypedDict):
    """The member of staff who makes a change, and the time."""

    user_id: int
    now: datetime


def made_by(request: web.Request) -> MadeBy:
    """The last arguments of a service that makes a change."""
    return {"user_id": current_user(request).id, "now": now()}
