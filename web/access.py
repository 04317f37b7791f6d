"""Who may come in at an address: decided once, before its handler runs."""

from enum import StrEnum

from bookstore.errors import NotAllowed, NotSignedIn
from bookstore.permissions import Permission, permits
from bookstore.users import User


class Open(StrEnum):
    """Addresses that need no permission."""

    ANYONE = "anyone"
    #: Whoever is signed in; handlers then show people what is theirs.
    SIGNED_IN = "signed-in"


#: What an address asks for.
Access = Open | Permission


def admit(user: User | None, access: Access) -> None:
    """Let the visitor in, or not.

    Raises:
        NotSignedIn: a guest, where one must be signed in.
        NotAllowed: a user without the permission.
    """
    if access is Open.ANYONE:
        return
    if user is None:
        raise NotSignedIn
    if isinstance(access, Permission) and not permits(user.role, access):
        raise NotAllowed
