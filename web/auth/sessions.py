"""Who is signed in: the cookie, the session behind it and the user of a request.

Programs show a personal token instead: then the cookie does not count, and nothing is kept.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp_security
import aiohttp_session
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp_session import AbstractStorage, Session, SessionData, get_session, new_session

from bookstore.database.engine import reading, transaction
from bookstore.errors import BadToken, NotSignedIn
from bookstore.users import accounts, api_tokens, sessions
from bookstore.users.accounts import User
from bookstore.users.api_tokens import Scope
from bookstore.users.permissions import Role, is_staff
from bookstore.users.session_lookup import FoundSession
from config.settings import Settings
from web.auth import known_devices
from web.server.keys import ENGINE, ENROLS, SESSION_LOOKUP, TOKEN, USER, WAITED_S
from web.server.problems import AWAY
from web.server.request_context import bearer, now, sender

#: From signing in to having to sign in again.  Staff see other people's orders.
LIFETIME, LIFETIME_OF_STAFF = timedelta(days=30), timedelta(hours=10)
#: Without a request for this long the session is over.
IDLE, IDLE_OF_STAFF = timedelta(days=14), timedelta(minutes=30)
#: Whoever typed their password within this long need not do so again for what is delicate.
CONFIRMED = timedelta(minutes=15)

#: Under which names things lie in the session's data.
USER_ID = "user_id"
_CART_ID = "cart_id"
#: The role that the session was made for: with another one it gets another id.
_ROLE = "role"
#: When the password was last typed, in seconds since 1970.
_CONFIRMED_AT = "confirmed_at"
#: Who has given the right password and owes a code, and since when.
_OWES_CODE = "owes_code"
#: An authenticator is at hand, or is not.
CODE_WITHIN = timedelta(minutes=5)


def cookie_name(settings: Settings) -> str:
    """What the cookie is called; browsers take a `__Host-` one only over HTTPS, for this host."""
    return "__Host-sid" if settings.base_url.startswith("https:") else "sid"


def must_enrol(settings: Settings, user: User) -> bool:
    """Whether the user works here and has to set up a second factor before anything else."""
    return settings.production and is_staff(user.role) and not user.second_factor


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
        self._settings = settings

    async def load_session(self, request: web.Request) -> Session:
        """The session of the cookie, with its user; an empty one where there is none.

        Raises:
            BadToken: the request shows a token that is worth nothing.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._load(request)
        finally:
            request[WAITED_S] = loop.time() - began

    async def _load(self, request: web.Request) -> Session:
        request[USER] = request[TOKEN] = None
        token = bearer(request)
        if token is not None:
            await self._load_token(request, token)
            return await self.new_session()
        session_id = self.load_cookie(request)
        if not session_id:
            return await self.new_session()
        visit = await request.config_dict[SESSION_LOOKUP].of(session_id)
        if visit is None or not _lives(visit):
            return await self.new_session()
        moment, user = now(), visit.user
        if visit.last_seen_at <= moment - sessions.SEEN_EVERY:
            async with transaction(request.config_dict[ENGINE]) as conn:
                await sessions.touch(conn, session_id, now=moment)
        data = dict(visit.data)
        if user is not None:
            data[USER_ID] = str(user.id)
        created = int(visit.created_at.timestamp())
        content: SessionData = {"created": created, "session": data}
        if user is None:
            return Session(session_id, data=content, new=False)
        request[USER] = self._enrolled(request, user)
        if data.get(_ROLE) == user.role:
            return Session(session_id, data=content, new=False)
        # The role has changed: without an identity the session gets a new id when it is saved.
        session = Session(None, data=content, new=False)
        session[_ROLE] = user.role
        return session

    async def _load_token(self, request: web.Request, text: str) -> None:
        engine, moment = request.config_dict[ENGINE], now()
        async with reading(engine) as conn:
            found = await api_tokens.find(conn, text, now=moment)
        if found is None:
            raise BadToken
        user, token = found
        if token.last_used_at is None or token.last_used_at <= moment - api_tokens.USED_EVERY:
            async with transaction(engine) as conn:
                await api_tokens.touch(conn, token.id, now=moment)
        user = self._enrolled(request, user)
        if Scope.STAFF not in token.scopes:
            user = replace(user, role=Role.CUSTOMER)
        request[USER], request[TOKEN] = user, token

    def _enrolled(self, request: web.Request, user: User) -> User:
        """The user; staff without the second factor they need are customers like others."""
        if not must_enrol(self._settings, user):
            return user
        request[ENROLS] = True
        return replace(user, role=Role.CUSTOMER)

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """Keep what changed.  A new session gets a new id, and the old one's row goes."""
        if request[TOKEN] is not None:
            return
        data: dict[str, Any] = dict(session)
        user_id = int(data.pop(USER_ID)) if USER_ID in data else None
        cookie = self.load_cookie(request)
        moment = now()
        async with transaction(request.config_dict[ENGINE]) as conn:
            if session.identity is not None and not session.empty:
                await sessions.save(conn, session.identity, user_id=user_id, data=data, now=moment)
                return
            ended = await sessions.end(conn, cookie) if cookie else False
            if not session.new and not ended and not session.empty:
                # It was ended while this request ran: it does not come back under another id.
                return
            if session.empty:
                # With its flags, or browsers do not take the name with `__Host-`.
                response.del_cookie(
                    self.cookie_name,
                    secure=self.cookie_params["secure"],
                    httponly=True,
                    samesite="Lax",
                )
                return
            session_id = await sessions.make(
                conn,
                user_id=user_id,
                data=data,
                address=sender(request),
                # Bytes that are no UTF-8 come as half surrogates, which no database takes.
                user_agent=request.headers.get("User-Agent", "").encode(errors="replace").decode(),
                now=moment,
                lifetime=_lifetime(data.get(_ROLE)),
            )
        self.save_cookie(response, session_id)
        user = request[USER]
        if user is not None and user_id == user.id:
            known_devices.remember(request, response, user.email)


@web.middleware
async def known(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Load the session and its user, once for the request."""
    await get_session(request)
    return await handler(request)


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
    session = await new_session(request)
    session[_ROLE] = user.role
    session[_CONFIRMED_AT] = int(now().timestamp())
    # The response plays no part: the session's middleware sets the cookie.
    await aiohttp_security.remember(request, web.Response(), str(user.id))


async def await_code(request: web.Request, user: User) -> None:
    """Remember that this visitor has given the user's password: what is missing is a code."""
    kept = dict(await get_session(request))
    session = await new_session(request)
    session.update({**kept, _OWES_CODE: [user.id, now().timestamp()]})


async def owes_code(request: web.Request) -> int | None:
    """The id of the user whose password this visitor gave a moment ago; None without one."""
    user_id, since = (await get_session(request)).get(_OWES_CODE, (None, 0.0))
    in_time = now().timestamp() - since < CODE_WITHIN.total_seconds()
    return user_id if in_time else None


async def sign_out(request: web.Request) -> None:
    """Make the visitor a guest without a past."""
    request[USER] = None
    (await get_session(request)).invalidate()


async def confirm(request: web.Request) -> None:
    """Note that whoever is signed in has just typed their password."""
    (await get_session(request))[_CONFIRMED_AT] = int(now().timestamp())


async def confirmed_lately(request: web.Request) -> bool:
    """Whether whoever is signed in typed their password a moment ago.

    If not, send them to `/account/confirm?next=...` before anything delicate.
    """
    confirmed_at: int = (await get_session(request)).get(_CONFIRMED_AT, 0)
    return request[TOKEN] is None and now().timestamp() - confirmed_at < CONFIRMED.total_seconds()


async def guest_cart(request: web.Request) -> int | None:
    """The id of the cart that a guest has filled, if any."""
    cart_id: int | None = (await get_session(request)).get(_CART_ID)
    return cart_id


async def keep_guest_cart(request: web.Request, cart_id: int) -> None:
    """Let the guest find this cart again."""
    (await get_session(request))[_CART_ID] = cart_id


async def goes_on(request: web.Request) -> bool:
    """Whether whoever sent this request, a while ago, still is who they were then.

    Guests stay guests.  While the database is away, nothing is known against anybody.
    """
    user, token = request.get(USER), bearer(request)
    if user is None:
        return True
    try:
        async with reading(request.config_dict[ENGINE]) as conn:
            if token is not None:
                shown = await api_tokens.find(conn, token, now=now())
                return shown is not None and user.role in (shown[0].role, Role.CUSTOMER)
            own_id = await session_id(request)
            found = await sessions.find(conn, own_id, now=now()) if own_id else None
            if found is None or found.user_id != user.id:
                return False
            today = await accounts.get(conn, user.id)
    except AWAY:
        return True
    return not today.disabled and found.data.get(_ROLE) == today.role


async def session_id(request: web.Request) -> str | None:
    """The id of this request's session, for ending all others; None for a new one."""
    identity: str | None = (await get_session(request)).identity
    return identity


def middleware(settings: Settings) -> Any:
    """Loads the session when somebody asks for it, and saves it when it was changed."""
    return aiohttp_session.session_middleware(Storage(settings))


def _lives(visit: FoundSession) -> bool:
    user = visit.user
    if user is None:
        return True
    idle = IDLE_OF_STAFF if is_staff(user.role) else IDLE
    return not user.disabled and now() - visit.last_seen_at < idle


def _lifetime(role: str | None) -> timedelta:
    return LIFETIME_OF_STAFF if role is not None and is_staff(Role(role)) else LIFETIME
