"""Personal API tokens, with which programs authenticate instead of a password.

A token is `bks_` and 256 random bits; the table holds its SHA-256.  It has its user's permissions,
limited by its scopes.
"""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, notifications
from bookstore.database.tables import api_tokens, users
from bookstore.errors import Invalid, NotFound, TooManyTokens
from bookstore.stored_enum import StoredEnum
from bookstore.users.accounts import USER_COLUMNS, User, user_from_row

PREFIX = "bks_"
#: The most tokens of one user.
MAX_TOKENS = 50
#: `last_used_at` is updated at most this often: it is only shown to users, and a program may send
#: a hundred requests a second.
TOUCH_INTERVAL = timedelta(minutes=1)
#: A longer string cannot be a token and is not hashed, in characters.
MAX_LENGTH = 100


class Scope(StoredEnum):
    """What a token may be used for."""

    #: Read requests.
    READ = "read"
    #: Requests that change data.
    WRITE = "write"
    #: The permissions of the user's role; without it the token acts as a customer.
    STAFF = "staff"
    #: Delicate actions, for which others enter the password (`permissions.DELICATE`).
    ELEVATED = "elevated"


#: What a token may be used for unless something else is said.
USUAL_SCOPES = (Scope.READ, Scope.WRITE, Scope.STAFF)
#: How long a token is valid if nothing is said, and at most.
USUAL_LIFETIME, LONGEST_LIFETIME = timedelta(days=90), timedelta(days=366)
LONGEST_ELEVATED = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as its owner sees it: its name and scopes, without the secret."""

    id: int
    name: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


async def make(
    conn: AsyncConnection,
    user_id: int,
    *,
    name: str,
    scopes: Collection[Scope],
    expires_at: datetime | None,
    now: datetime,
) -> tuple[ApiToken, str]:
    """A new token and its secret, which cannot be read again later.

    Raises:
        Invalid: there are no scopes, or `expires_at` is in the past or too far away.
        TooManyTokens: the user has `MAX_TOKENS` already.
    """
    if not scopes:
        raise Invalid("scopes", "A token needs at least one scope.")
    is_elevated = Scope.ELEVATED in scopes
    if expires_at is None:
        expires_at = now + (LONGEST_ELEVATED if is_elevated else USUAL_LIFETIME)
    if expires_at <= now:
        raise Invalid("expires_at", "This time is in the past.")
    if is_elevated and expires_at > now + LONGEST_ELEVATED:
        raise Invalid("expires_at", "An elevated token is valid for at most one day.")
    if expires_at > now + LONGEST_LIFETIME:
        raise Invalid("expires_at", "A token is valid for at most one year.")
    # Lock the user's row, so that concurrent requests cannot exceed the limit.
    await conn.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
    count = select(func.count()).where(api_tokens.c.user_id == user_id)
    if (await conn.scalar(count) or 0) >= MAX_TOKENS:
        raise TooManyTokens(MAX_TOKENS)
    token = PREFIX + secrets.token_urlsafe(32)
    shown = {"name": name, "scopes": sorted(scopes), "created_at": now, "expires_at": expires_at}
    values = {"user_id": user_id, "token_hash": _hash(token), **shown}
    result = await conn.execute(insert(api_tokens).values(values))
    audited: dict[str, list[Any]] = {"name": [None, name], "scopes": [None, sorted(scopes)]}
    await audit.record(conn, "create-token", "user", user_id, audited, user_id=user_id, now=now)
    email = await conn.scalar(select(users.c.email).where(users.c.id == user_id)) or ""
    await notifications.queue(conn, "token-created", recipient=email, user_id=user_id, now=now)
    return _token({"id": result.lastrowid, "last_used_at": None, **shown}), token


async def find(conn: AsyncConnection, token: str, *, now: datetime) -> tuple[User, ApiToken] | None:
    """The user and the token; None if it is unknown, revoked, expired or of a disabled user."""
    if not token.startswith(PREFIX) or len(token) > MAX_LENGTH:
        return None
    query = (
        select(*USER_COLUMNS, *(column.label(f"token_{column.name}") for column in _SHOWN))
        .join_from(api_tokens, users, users.c.id == api_tokens.c.user_id)
        .where(api_tokens.c.token_hash == _hash(token), users.c.disabled_at.is_(None))
    )
    found = (await conn.execute(query)).one_or_none()
    if found is None or (found.token_expires_at is not None and found.token_expires_at <= now):
        return None
    return user_from_row(found), _token({c.name: found._mapping[f"token_{c.name}"] for c in _SHOWN})


async def touch(conn: AsyncConnection, token_id: int, *, now: datetime) -> None:
    """Update the time when the token was last used."""
    touching = update(api_tokens).where(api_tokens.c.id == token_id)
    await conn.execute(touching.values(last_used_at=now))


async def of_user(conn: AsyncConnection, user_id: int) -> list[ApiToken]:
    """A user's tokens, including expired ones, the newest first."""
    query = select(*_SHOWN).where(api_tokens.c.user_id == user_id).order_by(api_tokens.c.id.desc())
    return [_token(row._asdict()) for row in await conn.execute(query)]


async def end(conn: AsyncConnection, user_id: int, token_id: int) -> None:
    """Revoke one of a user's tokens, effective immediately.

    Raises:
        NotFound: the user has no such token.
    """
    ending = delete(api_tokens).where(api_tokens.c.id == token_id, api_tokens.c.user_id == user_id)
    if (await conn.execute(ending)).rowcount == 0:
        raise NotFound("This token")


async def purge(conn: AsyncConnection, *, before: datetime) -> None:
    """Delete the tokens that expired before this time."""
    await conn.execute(delete(api_tokens).where(api_tokens.c.expires_at < before))


_SHOWN = [column for column in api_tokens.c if column.name not in ("token_hash", "user_id")]


def _token(shown: Mapping[str, Any]) -> ApiToken:
    scopes = frozenset(Scope.stored(scope) for scope in shown["scopes"])
    return ApiToken(**{**shown, "scopes": scopes})


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
