"""The one answer to "may this request do that": the policy that `aiohttp_security` asks."""

from enum import Enum
from typing import Any

import aiohttp_security
from aiohttp import web
from aiohttp_security.abc import AbstractAuthorizationPolicy
from aiohttp_security.session_identity import SessionIdentityPolicy

from bookstore.users.api_tokens import Scope
from bookstore.users.permissions import Permission, permits
from web.auth import sessions
from web.server.keys import TOKEN, USER
from web.server.route_access import Open

#: Methods that change nothing (RFC 9110, section 9.2.1).
_SAFE = {"GET", "HEAD", "OPTIONS"}


class Identity(SessionIdentityPolicy):
    """The id of the user whose session or token came with the request."""

    def __init__(self) -> None:
        super().__init__(sessions.USER_ID)

    async def identify(self, request: web.Request) -> str | None:
        user = request[USER]
        if request[TOKEN] is not None and user is not None:
            return str(user.id)
        identity: str | None = await super().identify(request)
        return identity


class Authorization(AbstractAuthorizationPolicy):
    """Decides by the user's role, the token's scopes and how the user signed in."""

    async def authorized_userid(self, identity: str) -> str | None:
        # The identity comes from a session or token that was looked up for this request.
        return identity

    async def permits(
        self, identity: str | None, permission: str | Enum, context: Any = None
    ) -> bool:
        """Whether `context`, a request of the user `identity`, may have this access."""
        user, token = context[USER], context[TOKEN]
        if token is not None:
            needed = Scope.READ if context.method in _SAFE else Scope.WRITE
            if needed not in token.scopes:
                return False
        if permission is Open.ANYONE:
            return True
        if user is None or str(user.id) != identity:
            return False
        if permission is Open.SIGNED_IN:
            return True
        if permission is Open.IN_PERSON:
            return token is None
        if permission is Open.CONFIRMED:
            return await sessions.confirmed_lately(context)
        return isinstance(permission, Permission) and permits(user.role, permission)


def setup(app: web.Application) -> None:
    """Make this the policy of the application and of those mounted in it."""
    aiohttp_security.setup(app, Identity(), Authorization())
