"""Links in letters that open something once: they prove that an address is somebody's.

A link is its row's id and a secret that is worked out from the row and the store's own secret:
the letter can be written again with the same words, and nobody who reads the database can open
anything.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import derived_secrets
from bookstore.database.tables import link_tokens
from bookstore.errors import BadLink

#: Long enough for a letter to arrive and be read (OWASP, Forgot Password).
LIFETIME = timedelta(minutes=30)
_TOKEN = re.compile(r"([0-9]{1,18})-([A-Za-z0-9_-]{43})")


class Purpose(StrEnum):
    """What a link opens."""

    #: The address of an account is confirmed.
    VERIFY = "verify"
    #: The account gets this address.
    CHANGE = "change"
    #: The account gets a new password.
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Link:
    """A link that works; `email` is where it was sent."""

    id: int
    purpose: Purpose
    user_id: int
    email: str


async def make(
    conn: AsyncConnection,
    purpose: Purpose,
    *,
    user_id: int,
    notification_id: int,
    email: str,
    now: datetime,
) -> None:
    """Let the letter of this notification have a link."""
    await conn.execute(
        insert(link_tokens).values(
            purpose=purpose,
            user_id=user_id,
            notification_id=notification_id,
            email=email,
            nonce=secrets.token_bytes(32),
            expires_at=now + LIFETIME,
        )
    )


def token(seed: str, secret_key: str) -> str:
    """What the address of a link ends with; `seed` is what `seeds` has said about it."""
    link_id, _, _ = seed.partition(" ")
    return f"{link_id}-{derived_secrets.text(secret_key, f'link {seed}')}"


async def seeds(conn: AsyncConnection, notification_ids: list[int]) -> dict[int, str]:
    """From what the secrets of these letters' links are worked out, by notification."""
    found = await conn.execute(
        select(link_tokens).where(link_tokens.c.notification_id.in_(notification_ids))
    )
    return {row.notification_id: _seed(row.id, row.purpose, row.nonce) for row in found}


async def look(
    conn: AsyncConnection, token: str, *purposes: Purpose, secret_key: str, now: datetime
) -> Link:
    """The link with this token, which stays as it is.

    Raises:
        BadLink: it was used, is too old, or is none.
    """
    return await _find(conn, token, purposes, select(link_tokens), secret_key, now)


async def redeem(
    conn: AsyncConnection, token: str, *purposes: Purpose, secret_key: str, now: datetime
) -> Link:
    """The link with this token, used up.

    Raises:
        BadLink: it was used, is too old, or is none.
    """
    query = select(link_tokens).with_for_update()
    found = await _find(conn, token, purposes, query, secret_key, now)
    await conn.execute(delete(link_tokens).where(link_tokens.c.id == found.id))
    return found


async def withdraw(conn: AsyncConnection, user_id: int, *purposes: Purpose) -> None:
    """Let a user's links of these purposes open nothing any more; of all, where none is named."""
    ending = delete(link_tokens).where(link_tokens.c.user_id == user_id)
    if purposes:
        ending = ending.where(link_tokens.c.purpose.in_(purposes))
    await conn.execute(ending)


async def purge(conn: AsyncConnection, *, now: datetime) -> None:
    """Drop the links that are too old."""
    await conn.execute(delete(link_tokens).where(link_tokens.c.expires_at <= now))


async def _find(
    conn: AsyncConnection,
    token: str,
    purposes: tuple[Purpose, ...],
    query: Select[tuple[object, ...]],
    secret_key: str,
    now: datetime,
) -> Link:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise BadLink
    row = (await conn.execute(query.where(link_tokens.c.id == int(match[1])))).one_or_none()
    if row is None or row.purpose not in purposes or row.expires_at <= now:
        raise BadLink
    seed = _seed(row.id, row.purpose, row.nonce)
    if not derived_secrets.fits(match[2], secret_key, f"link {seed}"):
        raise BadLink
    return Link(row.id, Purpose(row.purpose), row.user_id, row.email)


def _seed(link_id: int, purpose: str, nonce: bytes) -> str:
    return f"{link_id} {purpose} {bytes(nonce).hex()}"
