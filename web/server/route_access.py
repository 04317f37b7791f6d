"""Who may come in at an address: decided once, before its handler runs."""

from collections.abc import Mapping
from enum import StrEnum

from aiohttp import web

from bookstore.errors import NotAllowed, NotSignedIn
from bookstore.users.accounts import User
from bookstore.users.api_tokens import ApiToken
from bookstore.users.permissions import Permission, permits


class Open(StrEnum):
    """Addresses that need no permission."""

    ANYONE = "anyone"
    #: Whoever is signed in; handlers then show people what is theirs.
    SIGNED_IN = "signed-in"
    #: Whoever has signed in themselves: what opens an account is not changed by a token.
    IN_PERSON = "in-person"


#: What an address asks for.
Access = Open | Permission
#: Who may come in at which address.
ACCESS = web.AppKey[Mapping[web.AbstractRoute, Access]]("access")


def admit(user: User | None, access: Access, *, token: ApiToken | None = None) -> None:
    """Let the visitor in, or not; `token` is what they have shown instead of a password.

    Raises:
        NotSignedIn: a guest, where one must be signed in.
        NotAllowed: a user without the permission, or a token where nobody may come in with one.
    """
    if access is Open.ANYONE:
        return
    if user is None:
        raise NotSignedIn
    if access is Open.IN_PERSON and token is not None:
        raise NotAllowed
    if isinstance(access, Permission) and not permits(user.role, access):
        raise NotAllowed
