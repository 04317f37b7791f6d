"""Check passwords and second-factor codes, with throttling of failed attempts."""

import logging

from aiohttp import web

from bookstore.database.engine import transaction
from bookstore.errors import BadCode, BadCredentials, CodeRequired
from bookstore.users import accounts, sessions, two_factor
from bookstore.users.accounts import User
from web.auth.login_throttle import throttle_code, throttle_password
from web.auth.sessions import current_user, mark_confirmed, session_id, sign_in
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now
from web.server.transactions import write

log = logging.getLogger(__name__)


async def check(request: web.Request, email: str, password: str, code: str | None = None) -> User:
    """The user with this e-mail address, after checking the password and a required code.

    Raises:
        BadCredentials: the e-mail address or the password is wrong.
        CodeRequired: the account has a second factor and `code` is missing.
        BadCode: the code is wrong.
        TooManyAttempts: there were too many failed attempts; nothing was checked.
    """
    user = await check_password(request, email, password)
    if user.second_factor:
        if not code:
            raise CodeRequired
        await check_code(request, user, code)
    return user


async def check_password(request: web.Request, email: str, password: str) -> User:
    """The user with this e-mail address, after checking the password only.

    If the user has a second factor, the caller must check a code as well.

    Raises:
        BadCredentials: the e-mail address or the password is wrong.
        TooManyAttempts: there were too many failed attempts; nothing was checked.
    """
    try:
        async with throttle_password(request, email):
            user = await accounts.sign_in(request.config_dict[ENGINE], email, password)
    except BadCredentials:
        log.info("sign-in failed: wrong password or unknown account")
        raise
    log.info("password accepted: user %d", user.id)
    return user


async def check_code(request: web.Request, user: User, code: str) -> None:
    """Check a code of the user's second factor. A recovery code works once.

    Raises:
        BadCode: the code is wrong or was used before.
        TooManyAttempts: there were too many failed attempts; nothing was checked.
    """
    secret_key = request.config_dict[SETTINGS].secret_key
    async with throttle_code(request, user):
        # A separate transaction: the code is marked as used before it gives access to anything.
        valid = await write(
            request, two_factor.use, user.id, code, secret_key=secret_key, now=now()
        )
        if not valid:
            log.info("wrong code: user %d", user.id)
            raise BadCode


async def confirm_password(request: web.Request, password: str) -> User:
    """The signed-in user, after checking the password again; the session is then confirmed.

    Raises:
        BadCredentials: the password is wrong.
        TooManyAttempts: there were too many failed attempts; nothing was checked.
    """
    user = current_user(request)
    await check_password(request, user.email, password)
    await mark_confirmed(request)
    return user


async def enable_second_factor(request: web.Request, code: str) -> list[str]:
    """Enable the second factor of the signed-in user; returns the recovery codes.

    All other sessions end, and this session gets a new id.

    Raises:
        BadCode: the code does not match the secret.
        SecondFactorNotBegun: no secret was created yet.
        SecondFactorOn: the second factor is already enabled.
        TooManyAttempts: there were too many failed attempts; nothing was checked.
    """
    user, current_id = current_user(request), await session_id(request)
    async with throttle_code(request, user), transaction(request.config_dict[ENGINE]) as conn:
        codes = await two_factor.enable(
            conn, user.id, code, secret_key=request.config_dict[SETTINGS].secret_key, now=now()
        )
        await sessions.end_all(conn, user.id, except_id=current_id)
        user = await accounts.get(conn, user.id)
    await sign_in(request, user)
    return codes


async def remove_second_factor(request: web.Request, password: str) -> None:
    """Remove the second factor of the signed-in user.

    All other sessions end, and this session gets a new id.

    Raises:
        BadCredentials: the password is wrong.
        TooManyAttempts: there were too many failed attempts; nothing was checked.
    """
    user, current_id = await confirm_password(request, password), await session_id(request)
    async with transaction(request.config_dict[ENGINE]) as conn:
        await two_factor.remove(conn, user.id, by=user.id, now=now())
        await sessions.end_all(conn, user.id, except_id=current_id)
        user = await accounts.get(conn, user.id)
    await sign_in(request, user)
