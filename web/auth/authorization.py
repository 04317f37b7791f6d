"""The authorization policy of the application, used through `aiohttp_security`."""

from enum import Enum
from typing import Any

import aiohttp_security
from aiohttp import web
from aiohttp_security.abc import AbstractAuthorizationPolicy
from aiohttp_security.session_identity import SessionIdentityPolicy

from bookstore.users.api_tokens import Scope
from bookstore.users.permissions import Permission, permits
from web.auth import session_storage, sessions
from web.server.keys import TOKEN, USER
from web.server.route_access import AccessLevel

#: Methods that change nothing (RFC 9110, section 9.2.1).
_SAFE = {"GET", "HEAD", "OPTIONS"}


class RequestIdentity(SessionIdentityPolicy):
    """Identifies a request by the user id of its session or API token."""

    def __init__(self) -> None:
        super().__init__(session_storage.USER_ID)

    async def identify(self, request: web.Request) -> str | None:
        user = request[USER]
        if request[TOKEN] is not None and user is not None:
            return str(user.id)
        identity: str | None = await super().identify(request)
        return identity


class Authorization(AbstractAuthorizationPolicy):
    """Decides by the user's role, the token's scopes and the way the user signed in."""

    async def authorized_userid(self, identity: str) -> str | None:
        # The session or token of the identity was already looked up for this request.
        return identity

    async def permits(
        self, identity: str | None, permission: str | Enum, context: Any = None
    ) -> bool:
        """Whether `context`, the request of user `identity`, has the access `permission`."""
        user, token = context[USER], context[TOKEN]
        if token is not None:
            needed = Scope.READ if context.method in _SAFE else Scope.WRITE
            if needed not in token.scopes:
                return False
        if permission is AccessLevel.ANYONE:
            return True
        if user is None or str(user.id) != identity:
            return False
        if permission is AccessLevel.SIGNED_IN:
            return True
        if permission is AccessLevel.IN_PERSON:
            return token is None
        if permission is AccessLevel.CONFIRMED:
            return await sessions.recently_confirmed(context)
        return isinstance(permission, Permission) and permits(user.role, permission)


def setup(app: web.Application) -> None:
    """Install the policy for the application and its subapplications."""
    aiohttp_security.setup(app, RequestIdentity(), Authorization())
