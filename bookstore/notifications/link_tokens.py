"""Single-use links in e-mails, which prove that an address belongs to a user.

A token is its row's id and a secret that is derived from the row and the store's secret key.  So
the e-mail can be rendered again with the same content, and read access to the database does not
reveal valid links.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import derived_secrets
from bookstore.database.tables import link_tokens
from bookstore.errors import BadLink

#: Long enough for an e-mail to arrive and be read (OWASP, Forgot Password).
LIFETIME = timedelta(minutes=30)
_TOKEN = re.compile(r"([0-9]{1,18})-([A-Za-z0-9_-]{43})")


class Purpose(StrEnum):
    """What a link is for."""

    #: Confirm the address of an account.
    VERIFY = "verify"
    #: Change the address of an account.
    CHANGE = "change"
    #: Set a new password.
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Link:
    """A valid link; `email` is the address to which it was sent."""

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
    """Add the link for the e-mail of this notification."""
    await conn.execute(
        insert(link_tokens)
        .values(purpose=purpose, user_id=user_id, notification_id=notification_id, email=email)
        .values(nonce=secrets.token_bytes(32), expires_at=now + LIFETIME)
    )


def token(seed: str, secret_key: str) -> str:
    """The last part of a link's URL; `seed` is the link's value from `seeds`."""
    link_id, _, _ = seed.partition(" ")
    return f"{link_id}-{derived_secrets.text(secret_key, f'link {seed}')}"


async def seeds(conn: AsyncConnection, notification_ids: list[int]) -> dict[int, str]:
    """The seeds from which the secrets of these notifications' links are derived, by
    notification."""
    query = select(link_tokens).where(link_tokens.c.notification_id.in_(notification_ids))
    found = await conn.execute(query)
    return {row.notification_id: _seed(row.id, row.purpose, row.nonce) for row in found}


async def find(
    conn: AsyncConnection,
    token: str,
    *purposes: Purpose,
    secret_key: str,
    now: datetime,
    lock: bool = False,
) -> Link:
    """The link with this token; it stays valid.

    Raises:
        BadLink: it was used before, has expired or does not exist.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise BadLink
    query = select(link_tokens).where(link_tokens.c.id == int(match[1]))
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None or row.purpose not in purposes or row.expires_at <= now:
        raise BadLink
    seed = _seed(row.id, row.purpose, row.nonce)
    if not derived_secrets.verify(match[2], secret_key, f"link {seed}"):
        raise BadLink
    return Link(row.id, Purpose(row.purpose), row.user_id, row.email)


async def redeem(
    conn: AsyncConnection, token: str, *purposes: Purpose, secret_key: str, now: datetime
) -> Link:
    """The link with this token; it cannot be used again.

    Raises:
        BadLink: it was used before, has expired or does not exist.
    """
    found = await find(conn, token, *purposes, secret_key=secret_key, now=now, lock=True)
    await conn.execute(delete(link_tokens).where(link_tokens.c.id == found.id))
    return found


async def revoke(conn: AsyncConnection, user_id: int, *purposes: Purpose) -> None:
    """Invalidate a user's links of these purposes; of all purposes if none is named."""
    ending = delete(link_tokens).where(link_tokens.c.user_id == user_id)
    if purposes:
        ending = ending.where(link_tokens.c.purpose.in_(purposes))
    await conn.execute(ending)


async def purge(conn: AsyncConnection, *, now: datetime) -> None:
    """Delete the expired links."""
    await conn.execute(delete(link_tokens).where(link_tokens.c.expires_at <= now))


def _seed(link_id: int, purpose: str, nonce: bytes) -> str:
    return f"{link_id} {purpose} {bytes(nonce).hex()}"
