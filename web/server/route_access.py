"""Who may use a route: the route tables say, one policy decides, before the handler runs.

The policy is `web.auth.authorization.Authorization`; `aiohttp_security` knows it.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum

import aiohttp_security
from aiohttp import web

from bookstore.errors import NotAllowed, NotSignedIn, PasswordNeeded, SecondFactorRequired
from bookstore.users.permissions import Permission
from web.server.keys import ENROLS, TOKEN, USER


class Open(StrEnum):
    """What a route may ask for besides a permission."""

    ANYONE = "anyone"
    #: A user who is signed in; handlers then show people what is theirs.
    SIGNED_IN = "signed-in"
    #: A user who signed in with a password: a token does not change what opens an account.
    IN_PERSON = "in-person"
    #: The same, and the password was typed within the last minutes.
    CONFIRMED = "confirmed"


#: What a route asks for.
Access = Open | Permission
#: The access of each route.
ACCESS = web.AppKey[Mapping[web.AbstractRoute, Access]]("access")
#: Routes that also ask for `Open.CONFIRMED`.
CONFIRMED = web.AppKey[AbstractSet[web.AbstractRoute]]("confirmed")


async def authorize(request: web.Request, access: Access) -> None:
    """Ask the policy, and return if it permits.

    Raises:
        NotSignedIn: a guest asked for what needs a user.
        SecondFactorRequired: staff without the second factor that they need asked as staff.
        PasswordNeeded: the password was typed too long ago.
        NotAllowed: the user's role or the token does not permit this.
    """
    if await aiohttp_security.permits(request, access, request):
        return
    if request[USER] is None:
        raise NotSignedIn
    if isinstance(access, Permission) and request.get(ENROLS):
        raise SecondFactorRequired
    if access is Open.CONFIRMED and request[TOKEN] is None:
        raise PasswordNeeded
    raise NotAllowed


async def authorize_route(request: web.Request, default: Access) -> None:
    """Ask the policy for everything that the route of this request asks for.

    `default` is the access of a route that is not in the tables of its application.

    Raises:
        NotSignedIn, SecondFactorRequired, PasswordNeeded, NotAllowed: as for `authorize`.
    """
    route = request.match_info.route
    await authorize(request, request.config_dict[ACCESS].get(route, default))
    if route in request.config_dict[CONFIRMED]:
        await authorize(request, Open.CONFIRMED)
