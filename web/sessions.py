"""Who is signed in: the cookie, the session behind it and the user of a request."""

from contextvars import ContextVar
from datetime import timedelta
from enum import Enum
from typing import Any

import aiohttp_security
import aiohttp_session
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp_security.abc import AbstractAuthorizationPolicy
from aiohttp_security.session_identity import SessionIdentityPolicy
from aiohttp_session import AbstractStorage, Session, get_session, new_session

from bookstore import sessions, users
from bookstore.db import reading, transaction
from bookstore.errors import NotSignedIn
from bookstore.permissions import Permission, is_staff, permits
from bookstore.users import User
from config.settings import Settings
from web.keys import ENGINE, USER
from web.requests import now, sender

#: From signing in to having to sign in again.  Staff see other people's orders.
LIFETIME, LIFETIME_OF_STAFF = timedelta(days=30), timedelta(hours=10)
#: Without a request for this long the session is over.
IDLE, IDLE_OF_STAFF = timedelta(days=14), timedelta(hours=2)

#: Under which name the user's id lies in the session's data.
_USER_ID = "user_id"
_CART_ID = "cart_id"

_user: ContextVar[User | None] = ContextVar("user", default=None)


def cookie_name(settings: Settings) -> str:
    """What the cookie is called; browsers take a `__Host-` one only over HTTPS, for this host."""
    return "__Host-sid" if settings.base_url.startswith("https:") else "sid"


class Storage(AbstractStorage):
    """Sessions in our database.  A visitor who does nothing has no row."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            cookie_name=cookie_name(settings),
            secure=settings.base_url.startswith("https:"),
            httponly=True,
            samesite="Lax",
            max_age=int(LIFETIME.total_seconds()),
        )

    async def load_session(self, request: web.Request) -> Session:
        """The session of the cookie, with its user; an empty one where there is none."""
        request[USER] = None
        session_id = self.load_cookie(request)
        if not session_id:
            return await self.new_session()
        engine, moment = request.config_dict[ENGINE], now()
        async with reading(engine) as conn:
            found = await sessions.find(conn, session_id, now=moment)
            user = None
            if found is not None and found.user_id is not None:
                user = await users.get(conn, found.user_id)
        if found is None or (user is not None and not _lives(found, user)):
            return await self.new_session()
        request[USER] = user
        if found.last_seen_at <= moment - sessions.SEEN_EVERY:
            async with transaction(engine) as conn:
                await sessions.touch(conn, session_id, now=moment)
        data = dict(found.data)
        if user is not None:
            data[_USER_ID] = str(user.id)
        created = int(found.created_at.timestamp())
        return Session(session_id, data={"created": created, "session": data}, new=False)

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """Keep what changed.  A new session gets a new id, and the old one's row goes."""
        data: dict[str, Any] = dict(session)
        user_id = int(data.pop(_USER_ID)) if _USER_ID in data else None
        cookie = self.load_cookie(request)
        moment = now()
        async with transaction(request.config_dict[ENGINE]) as conn:
            if session.identity is not None and not session.empty:
                await sessions.save(conn, session.identity, user_id=user_id, data=data, now=moment)
                return
            if cookie:
                await sessions.end(conn, cookie)
            if session.empty:
                self.save_cookie(response, "")
                return
            session_id = await sessions.make(
                conn,
                user_id=user_id,
                data=data,
                address=sender(request),
                # Bytes that are no UTF-8 come as half surrogates, which no database takes.
                user_agent=request.headers.get("User-Agent", "").encode(errors="replace").decode(),
                now=moment,
                lifetime=LIFETIME_OF_STAFF if _is_staff(request[USER]) else LIFETIME,
            )
        self.save_cookie(response, session_id)


class Authorization(AbstractAuthorizationPolicy):
    """What the user of the running request may do; nobody is loaded a second time."""

    async def authorized_userid(self, identity: str) -> str | None:
        user = _user.get()
        return identity if user is not None and str(user.id) == identity else None

    async def permits(
        self, identity: str | None, permission: str | Enum, context: Any = None
    ) -> bool:
        user = _user.get()
        return (
            user is not None
            and str(user.id) == identity
            and permits(user.role, Permission(str(permission)))
        )


def setup(app: web.Application) -> None:
    """Give the application its sessions; the middlewares are put in by `app.py`."""
    aiohttp_security.setup(app, SessionIdentityPolicy(_USER_ID), Authorization())


@web.middleware
async def known(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out, once for the request, who sent it."""
    await get_session(request)
    # One task serves all requests of a connection: the next may be somebody else's.
    token = _user.set(request[USER])
    try:
        return await handler(request)
    finally:
        _user.reset(token)


def me(request: web.Request) -> User:
    """Whoever is signed in.

    Raises:
        NotSignedIn: nobody is.
    """
    user = request[USER]
    if user is None:
        raise NotSignedIn
    return user


async def sign_in(request: web.Request, user: User) -> None:
    """Make the visitor this user.  The session gets a new id: nobody can have planted it."""
    request[USER] = user
    await new_session(request)
    # The response plays no part: the session's middleware sets the cookie.
    await aiohttp_security.remember(request, web.Response(), str(user.id))


async def sign_out(request: web.Request) -> None:
    """Make the visitor a guest without a past."""
    request[USER] = None
    (await get_session(request)).invalidate()


async def guest_cart(request: web.Request) -> int | None:
    """The id of the cart that a guest has filled, if any."""
    cart_id: int | None = (await get_session(request)).get(_CART_ID)
    return cart_id


async def keep_guest_cart(request: web.Request, cart_id: int) -> None:
    """Let the guest find this cart again."""
    (await get_session(request))[_CART_ID] = cart_id


async def session_id(request: web.Request) -> str | None:
    """The id of this request's session, for ending all others; None for a new one."""
    identity: str | None = (await get_session(request)).identity
    return identity


def middleware(settings: Settings) -> Any:
    """Loads the session when somebody asks for it, and saves it when it was changed."""
    return aiohttp_session.session_middleware(Storage(settings))


def _lives(session: sessions.Session, user: User) -> bool:
    idle = IDLE_OF_STAFF if is_staff(user.role) else IDLE
    return not user.disabled and now() - session.last_seen_at < idle


def _is_staff(user: User | None) -> bool:
    return user is not None and is_staff(user.role)
