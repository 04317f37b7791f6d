"""Passwords and codes as people type them: checked, unless they were guessed at too often."""

import logging

from aiohttp import web

from bookstore.database.engine import transaction
from bookstore.errors import BadCode, BadCredentials, CodeRequired
from bookstore.users import accounts, sessions, two_factor
from bookstore.users.accounts import User
from web.auth.login_throttle import guessing, guessing_code
from web.auth.sessions import confirm, me, session_id, sign_in
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now

log = logging.getLogger(__name__)


async def check(request: web.Request, email: str, password: str, code: str | None = None) -> User:
    """The user with this address, if the password is right, and the code where one is due.

    Raises:
        BadCredentials: address and password do not go together.
        CodeRequired: a code is due and was not given.
        BadCode: the code is wrong.
        TooManyAttempts: one has to wait first.
    """
    user = await check_password(request, email, password)
    if user.second_factor:
        if not code:
            raise CodeRequired
        await check_code(request, user, code)
    return user


async def check_password(request: web.Request, email: str, password: str) -> User:
    """The user with this address, if the password is right; a code may still be due.

    Raises:
        BadCredentials: address and password do not go together.
        TooManyAttempts: one has to wait first.
    """
    try:
        async with guessing(request, email):
            user = await accounts.sign_in(request.config_dict[ENGINE], email, password)
    except BadCredentials:
        log.info("wrong password, or no such account")
        raise
    log.info("right password: user %d", user.id)
    return user


async def check_code(request: web.Request, user: User, code: str) -> None:
    """Let a code of the user's second factor pass; a recovery code passes once.

    Raises:
        BadCode: it is wrong, or was used before.
        TooManyAttempts: one has to wait first.
    """
    settings = request.config_dict[SETTINGS]
    async with guessing_code(request, user):
        # Its own transaction: what the code opens comes after it is used up.
        async with transaction(request.config_dict[ENGINE]) as conn:
            right = await two_factor.use(
                conn, user.id, code, secret_key=settings.secret_key, now=now()
            )
        if not right:
            log.info("wrong code: user %d", user.id)
            raise BadCode


async def confirm_password(request: web.Request, password: str) -> User:
    """Whoever is signed in, once more: their password is right.

    Raises:
        BadCredentials: it is another one.
        TooManyAttempts: one has to wait first.
    """
    user = me(request)
    await check_password(request, user.email, password)
    await confirm(request)
    return user


async def enable_second_factor(request: web.Request, code: str) -> list[str]:
    """Have the caller's second factor on, with the first code of it; the recovery codes.

    All other sessions end, and this one gets another id.

    Raises:
        BadCode: this is not what the authenticator shows.
        SecondFactorNotBegun: there is no seed yet.
        SecondFactorOn: it is on already.
        TooManyAttempts: one has to wait first.
    """
    user, here = me(request), await session_id(request)
    async with guessing_code(request, user), transaction(request.config_dict[ENGINE]) as conn:
        codes = await two_factor.enable(
            conn, user.id, code, secret_key=request.config_dict[SETTINGS].secret_key, now=now()
        )
        await sessions.end_all(conn, user.id, except_id=here)
        user = await accounts.get(conn, user.id)
    await sign_in(request, user)
    return codes


async def remove_second_factor(request: web.Request, password: str) -> None:
    """Have the caller's second factor off.  All other sessions end, this one gets another id.

    Raises:
        BadCredentials: the password is another one.
        TooManyAttempts: one has to wait first.
    """
    user, here = await confirm_password(request, password), await session_id(request)
    async with transaction(request.config_dict[ENGINE]) as conn:
        await two_factor.remove(conn, user.id, by=user.id, now=now())
        await sessions.end_all(conn, user.id, except_id=here)
        user = await accounts.get(conn, user.id)
    await sign_in(request, user)
