"""The storage of sessions: the cookie, the row in the database and the user of a request.

A request with a personal API token ignores the cookie and stores no session.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp_session
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp_session import AbstractStorage, Session, SessionData, get_session

from bookstore.database.engine import transaction
from bookstore.errors import BadToken
from bookstore.users import api_tokens, sessions
from bookstore.users.accounts import User
from bookstore.users.api_tokens import Scope
from bookstore.users.permissions import Role, is_staff
from bookstore.users.session_lookup import FoundSession
from config.settings import Settings
from web.auth import known_devices, new_devices
from web.server.keys import (
    ENGINE,
    ENROLMENT_REQUIRED,
    SESSION_LOOKUP,
    SESSION_RENEWED,
    SESSION_WAIT_S,
    TOKEN,
    USER,
)
from web.server.request_context import bearer_token, client_address, now
from web.server.transactions import read, write

#: Maximum age of a session. Shorter for staff, who can see customers' orders.
LIFETIME, LIFETIME_OF_STAFF = timedelta(days=30), timedelta(hours=10)
#: A session without a request for this long expires.
IDLE, IDLE_OF_STAFF = timedelta(days=14), timedelta(minutes=30)

#: Keys of the session data.
USER_ID = "user_id"
#: The user's role when the session was created; if the role changes, the session gets a new id.
ROLE = "role"


def cookie_name(settings: Settings) -> str:
    """The cookie's name. Browsers accept the prefix `__Host-` only over HTTPS for this host."""
    return "__Host-sid" if settings.base_url.startswith("https:") else "sid"


def needs_enrolment(settings: Settings, user: User) -> bool:
    """Whether the user is staff and must set up a second factor first (production only)."""
    return settings.production and is_staff(user.role) and not user.second_factor


class Storage(AbstractStorage):
    """Sessions in the database. A visitor without session data has no row."""

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
        """The session of the cookie with its user, or an empty session.

        Raises:
            BadToken: the API token is unknown, expired or revoked.
        """
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        try:
            return await self._load(request)
        finally:
            request[SESSION_WAIT_S] = loop.time() - started_at

    async def _load(self, request: web.Request) -> Session:
        request[USER] = request[TOKEN] = None
        token = bearer_token(request)
        if token is not None:
            await self._load_token(request, token)
            return await self.new_session()
        session_id = self.load_cookie(request)
        if not session_id:
            return await self.new_session()
        found = await request.config_dict[SESSION_LOOKUP].find(session_id)
        if found is None or not _is_active(found):
            return await self.new_session()
        moment, user = now(), found.user
        if found.last_seen_at <= moment - sessions.TOUCH_INTERVAL:
            await write(request, sessions.touch, session_id, now=moment)
        data = dict(found.data)
        created = int(found.created_at.timestamp())
        content: SessionData = {"created": created, "session": data}
        if user is not None:
            data[USER_ID] = str(user.id)
            request[USER] = self._enrolled(request, user)
        if user is None or data.get(ROLE) == user.role:
            return Session(session_id, data=content, new=False)
        # The role changed. A session without identity gets a new id when it is saved.
        session = Session(None, data=content, new=False)
        session[ROLE] = user.role
        return session

    async def _load_token(self, request: web.Request, text: str) -> None:
        moment = now()
        found = await read(request, api_tokens.find, text, now=moment)
        if found is None:
            raise BadToken
        user, token = found
        if token.last_used_at is None or token.last_used_at <= moment - api_tokens.TOUCH_INTERVAL:
            await write(request, api_tokens.touch, token.id, now=moment)
        user = self._enrolled(request, user)
        if Scope.STAFF not in token.scopes:
            user = replace(user, role=Role.CUSTOMER)
        request[USER], request[TOKEN] = user, token

    def _enrolled(self, request: web.Request, user: User) -> User:
        """The user; staff who must still set up a second factor get the role of a customer."""
        if not needs_enrolment(self._settings, user):
            return user
        request[ENROLMENT_REQUIRED] = True
        return replace(user, role=Role.CUSTOMER)

    async def save_session(
        self, request: web.Request, response: web.StreamResponse, session: Session
    ) -> None:
        """Store the changed session. A new session gets a new id, and the old row is deleted."""
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
                # The session ended while this request ran; do not recreate it under a new id.
                return
            if session.empty:
                # Browsers ignore a `__Host-` cookie without these attributes.
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
                address=client_address(request),
                # Invalid UTF-8 arrives as lone surrogates, which databases reject.
                user_agent=request.headers.get("User-Agent", "").encode(errors="replace").decode(),
                now=moment,
                lifetime=_lifetime(data.get(ROLE)),
            )
        self.save_cookie(response, session_id)
        user = request[USER]
        if user is not None and user_id == user.id:
            if not request.get(SESSION_RENEWED):
                await new_devices.notify(request, user)
            await known_devices.remember(request, response, user.email)


@web.middleware
async def load_session(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Load the session and its user once per request."""
    await get_session(request)
    return await handler(request)


def middleware(settings: Settings) -> Any:
    """Middleware that loads the session on first use and saves it if it changed."""
    return aiohttp_session.session_middleware(Storage(settings))


def _is_active(found: FoundSession) -> bool:
    user = found.user
    if user is None:
        return True
    idle = IDLE_OF_STAFF if is_staff(user.role) else IDLE
    return not user.disabled and now() - found.last_seen_at < idle


def _lifetime(role: str | None) -> timedelta:
    return LIFETIME_OF_STAFF if role is not None and is_staff(Role(role)) else LIFETIME
