"""Access control for routes.

The route tables declare the access of each route. Before a handler runs, this module asks the
authorization policy, `web.auth.authorization.Authorization`, through `aiohttp_security`.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum

import aiohttp_security
from aiohttp import web

from bookstore.errors import NotAllowed, NotSignedIn, PasswordNeeded, SecondFactorRequired
from bookstore.users.permissions import Permission
from web.server.keys import ENROLMENT_REQUIRED, TOKEN, USER


class AccessLevel(StrEnum):
    """What a route may require instead of a permission."""

    ANYONE = "anyone"
    #: A signed-in user; the handler then limits access to the user's own data.
    SIGNED_IN = "signed-in"
    #: A user who signed in with a password: API tokens may not change credentials or the account.
    IN_PERSON = "in-person"
    #: The same, and the user entered the password within `sessions.CONFIRMED`.
    CONFIRMED = "confirmed"


#: What a route requires.
Access = AccessLevel | Permission
#: The access that each route requires.
ACCESS = web.AppKey[Mapping[web.AbstractRoute, Access]]("access")
#: Routes that also require `AccessLevel.CONFIRMED`.
CONFIRMED = web.AppKey[AbstractSet[web.AbstractRoute]]("confirmed")


async def authorize(request: web.Request, access: Access) -> None:
    """Check access with the policy. Returns if the policy permits it.

    Raises:
        NotSignedIn: the access requires a user and the request is from a guest.
        SecondFactorRequired: the user is staff and must set up a second factor first.
        PasswordNeeded: the user entered the password too long ago.
        NotAllowed: the user's role or the token does not permit this.
    """
    if await aiohttp_security.permits(request, access, request):
        return
    if request[USER] is None:
        raise NotSignedIn
    if isinstance(access, Permission) and request.get(ENROLMENT_REQUIRED):
        raise SecondFactorRequired
    if access is AccessLevel.CONFIRMED and request[TOKEN] is None:
        raise PasswordNeeded
    raise NotAllowed


async def authorize_route(request: web.Request, default: Access) -> None:
    """Check everything that the route of this request requires.

    `default` is the access of a route that is not in the route tables.

    Raises:
        NotSignedIn, SecondFactorRequired, PasswordNeeded, NotAllowed: as for `authorize`.
    """
    route = request.match_info.route
    await authorize(request, request.config_dict[ACCESS].get(route, default))
    if route in request.config_dict[CONFIRMED]:
        await authorize(request, AccessLevel.CONFIRMED)
