"""Personal tokens: what a program shows instead of a password.

A token is `bks_` and 256 random bits; the table holds its SHA-256.  What it may do is what
its user may, within its scopes.
"""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import api_tokens, users
from bookstore.errors import Invalid, NotFound, TooManyTokens
from bookstore.users.accounts import USER_COLUMNS, User, user_of

PREFIX = "bks_"
#: More than anybody keeps track of.
MOST = 50
#: `last_used_at` is for people to read; a program may send a hundred requests a second.
USED_EVERY = timedelta(minutes=1)
#: What is longer is no token, and not worth hashing.
LONGEST = 100


class Scope(StrEnum):
    """What a token may be used for."""

    #: To look at things.
    READ = "read"
    #: To change them.
    WRITE = "write"
    #: Whatever its user's role permits; without it they are a customer like others.
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as its owner sees it: what it is called, not what it is."""

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
    """A new token, and what it is: this is the only time that anybody is told.

    Raises:
        Invalid: it would expire before it is made, or may be used for nothing.
        TooManyTokens: the user has as many as we keep.
    """
    if not scopes:
        raise Invalid("scopes", "A token needs at least one scope.")
    if expires_at is not None and expires_at <= now:
        raise Invalid("expires_at", "This moment is over.")
    # Their own row, so that several at once do not pass the limit together.
    await conn.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
    count = select(func.count()).where(api_tokens.c.user_id == user_id)
    if (await conn.scalar(count) or 0) >= MOST:
        raise TooManyTokens(MOST)
    token = PREFIX + secrets.token_urlsafe(32)
    result = await conn.execute(
        insert(api_tokens).values(
            user_id=user_id,
            name=name,
            token_hash=_hash(token),
            scopes=sorted(scopes),
            created_at=now,
            expires_at=expires_at,
        )
    )
    token_id: int = result.lastrowid
    return ApiToken(token_id, name, frozenset(scopes), now, expires_at, None), token


async def find(conn: AsyncConnection, token: str, *, now: datetime) -> tuple[User, ApiToken] | None:
    """Whose token this is; None when it ended, expired or never was, or its user is shut out."""
    if not token.startswith(PREFIX) or len(token) > LONGEST:
        return None
    query = (
        select(*USER_COLUMNS, *(column.label(f"token_{column.name}") for column in _SHOWN))
        .join_from(api_tokens, users, users.c.id == api_tokens.c.user_id)
        .where(api_tokens.c.token_hash == _hash(token), users.c.disabled_at.is_(None))
    )
    found = (await conn.execute(query)).one_or_none()
    if found is None or (found.token_expires_at is not None and found.token_expires_at <= now):
        return None
    return user_of(found), ApiToken(
        found.token_id,
        found.token_name,
        frozenset(Scope(scope) for scope in found.token_scopes),
        found.token_created_at,
        found.token_expires_at,
        found.token_last_used_at,
    )


async def touch(conn: AsyncConnection, token_id: int, *, now: datetime) -> None:
    """Note that the token is in use."""
    await conn.execute(
        update(api_tokens).where(api_tokens.c.id == token_id).values(last_used_at=now)
    )


async def of_user(conn: AsyncConnection, user_id: int) -> list[ApiToken]:
    """A user's tokens, the newest first; those that have expired too."""
    found = await conn.execute(
        select(*_SHOWN).where(api_tokens.c.user_id == user_id).order_by(api_tokens.c.id.desc())
    )
    return [_token(row) for row in found]


async def end(conn: AsyncConnection, user_id: int, token_id: int) -> None:
    """Make one of a user's tokens worthless, at once.

    Raises:
        NotFound: the user has no such token (any more).
    """
    ended = await conn.execute(
        delete(api_tokens).where(api_tokens.c.id == token_id, api_tokens.c.user_id == user_id)
    )
    if ended.rowcount == 0:
        raise NotFound("This token")


async def end_all(conn: AsyncConnection, user_id: int) -> None:
    """Make all of a user's tokens worthless."""
    await conn.execute(delete(api_tokens).where(api_tokens.c.user_id == user_id))


async def purge(conn: AsyncConnection, *, before: datetime) -> None:
    """Forget the tokens that expired before this moment."""
    await conn.execute(delete(api_tokens).where(api_tokens.c.expires_at < before))


_SHOWN = [column for column in api_tokens.c if column.name not in ("token_hash", "user_id")]


def _token(row: Row[tuple[object, ...]]) -> ApiToken:
    shown = dict(row._mapping)
    return ApiToken(**{**shown, "scopes": frozenset(Scope(scope) for scope in row.scopes)})


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
