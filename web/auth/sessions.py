"""The session of a request: who is signed in, recent confirmation, the cart of a guest."""

from collections.abc import Callable
from datetime import timedelta

import aiohttp_security
from aiohttp import web
from aiohttp_session import get_session, new_session

from bookstore.database.engine import reading
from bookstore.errors import NotSignedIn
from bookstore.users import accounts, api_tokens, sessions
from bookstore.users.accounts import User
from bookstore.users.permissions import Role
from web.auth.session_storage import ROLE
from web.server.keys import ENGINE, SESSION_RENEWED, TOKEN, USER
from web.server.problems import UNAVAILABLE_ERRORS
from web.server.request_context import bearer_token, now

#: Sensitive actions require that the user entered the password within this time.
CONFIRMED = timedelta(minutes=15)
#: Time to enter the code after the password.
CODE_TIMEOUT = timedelta(minutes=5)

#: Keys of the session data.
_CART_ID = "cart_id"
#: When the user last entered the password, in seconds since 1970.
_CONFIRMED_AT = "confirmed_at"
#: User id and time of a sign-in that has the correct password and still needs a code.
_PENDING_CODE = "pending_code"


def current_user(request: web.Request) -> User:
    """The signed-in user.

    Raises:
        NotSignedIn: the request is from a guest.
    """
    user = request[USER]
    if user is None:
        raise NotSignedIn
    return user


async def sign_in(request: web.Request, user: User) -> None:
    """Sign the visitor in as this user. A new session id prevents session fixation."""
    request[SESSION_RENEWED] = request.get(USER) is not None
    request[USER] = user
    session = await new_session(request)
    session[ROLE] = user.role
    session[_CONFIRMED_AT] = int(now().timestamp())
    # The response is unused: the session middleware sets the cookie.
    await aiohttp_security.remember(request, web.Response(), str(user.id))


async def start_code_step(request: web.Request, user: User) -> None:
    """Store that this visitor entered the user's password and must still enter a code."""
    data = dict(await get_session(request))
    session = await new_session(request)
    session.update({**data, _PENDING_CODE: [user.id, now().timestamp()]})


async def pending_code_user_id(request: web.Request) -> int | None:
    """The id of the user whose password this visitor entered; None if none or too long ago."""
    user_id, since = (await get_session(request)).get(_PENDING_CODE, (None, 0.0))
    in_time = now().timestamp() - since < CODE_TIMEOUT.total_seconds()
    return user_id if in_time else None


async def sign_out(request: web.Request) -> None:
    """Sign the user out and discard the session."""
    request[USER] = None
    (await get_session(request)).invalidate()


async def mark_confirmed(request: web.Request) -> None:
    """Store that the signed-in user has just entered the password."""
    (await get_session(request))[_CONFIRMED_AT] = int(now().timestamp())


async def recently_confirmed(request: web.Request) -> bool:
    """Whether the user entered the password within `CONFIRMED`, or the token was made for that.

    If not, redirect to `/account/confirm?next=...` before a sensitive action.
    """
    if (token := request[TOKEN]) is not None:
        return api_tokens.Scope.ELEVATED in token.scopes
    confirmed_at: int = (await get_session(request)).get(_CONFIRMED_AT, 0)
    return now().timestamp() - confirmed_at < CONFIRMED.total_seconds()


async def guest_cart_id(request: web.Request) -> int | None:
    """The id of the guest's cart, if any."""
    cart_id: int | None = (await get_session(request)).get(_CART_ID)
    return cart_id


async def save_guest_cart_id(request: web.Request, cart_id: int) -> None:
    """Store the id of the guest's cart in the session."""
    (await get_session(request))[_CART_ID] = cart_id


async def still_valid(request: web.Request) -> bool:
    """Whether the session or token of a long-running request is still valid, with the same role.

    Always True for guests, and while the database is unavailable.
    """
    user, token = request.get(USER), bearer_token(request)
    if user is None:
        return True
    try:
        async with reading(request.config_dict[ENGINE]) as conn:
            if token is not None:
                current = await api_tokens.find(conn, token, now=now())
                return current is not None and user.role in (current[0].role, Role.CUSTOMER)
            own_id = await session_id(request)
            found = await sessions.find(conn, own_id, now=now()) if own_id else None
            if found is None or found.user_id != user.id:
                return False
            account = await accounts.get(conn, user.id)
    except UNAVAILABLE_ERRORS:
        return True
    return not account.disabled and found.data.get(ROLE) == account.role


async def own_session(request: web.Request) -> Callable[[int], str | None]:
    """Returns for a user id the id of this request's session, if it is that user's."""
    identity, user = await session_id(request), request[USER]
    return lambda user_id: identity if user is not None and user.id == user_id else None


async def session_id(request: web.Request) -> str | None:
    """The id of this request's session, needed to end all others; None for a new session."""
    identity: str | None = (await get_session(request)).identity
    return identity
