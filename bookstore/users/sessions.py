"""Sessions of browsers, identified by a cookie.

The cookie holds a random id of 256 bits; the table holds its SHA-256, so that read access to the
table does not allow taking over a session.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import sessions
from bookstore.errors import NotFound

#: `last_seen_at` is updated at most this often: it is only shown to users, and otherwise every page
#: view would write to the database.
TOUCH_INTERVAL = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's session; `user_id` is None until a user signs in."""

    user_id: int | None
    data: dict[str, Any]
    address: str | None
    user_agent: str | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Device:
    """A session as its owner sees it; `id` can end the session but not use it."""

    id: str
    address: str | None
    user_agent: str | None
    created_at: datetime
    last_seen_at: datetime
    current: bool


async def make(
    conn: AsyncConnection,
    *,
    user_id: int | None,
    data: Mapping[str, Any],
    address: str | None,
    user_agent: str | None,
    now: datetime,
    lifetime: timedelta,
) -> str:
    """Begin a session; returns its secret id, which belongs only in the cookie."""
    session_id = secrets.token_urlsafe(32)
    await conn.execute(
        insert(sessions).values(
            id_hash=hash_of(session_id),
            user_id=user_id,
            data=json.dumps(dict(data)),
            address=address and address[:45],
            user_agent=user_agent and user_agent[:255],
            created_at=now,
            last_seen_at=now,
            expires_at=now + lifetime,
        )
    )
    return session_id


async def find(conn: AsyncConnection, session_id: str, *, now: datetime) -> Session | None:
    """The session with this id; None if it is unknown, ended or expired."""
    query = select(*(sessions.c[name] for name in Session.__slots__)).where(
        sessions.c.id_hash == hash_of(session_id), sessions.c.expires_at > now
    )
    found = (await conn.execute(query)).one_or_none()
    if found is None:
        return None
    return Session(**{**found._mapping, "data": json.loads(found.data)})


async def save(
    conn: AsyncConnection,
    session_id: str,
    *,
    user_id: int | None,
    data: Mapping[str, Any],
    now: datetime,
) -> bool:
    """Store the session's data.  False if the session was ended meanwhile; it stays ended."""
    saving = update(sessions).where(sessions.c.id_hash == hash_of(session_id))
    values = {"user_id": user_id, "data": json.dumps(dict(data)), "last_seen_at": now}
    return (await conn.execute(saving.values(values))).rowcount == 1


async def touch(conn: AsyncConnection, session_id: str, *, now: datetime) -> None:
    """Update the time when the session was last seen, at most once in `TOUCH_INTERVAL`."""
    seen_before = sessions.c.last_seen_at <= now - TOUCH_INTERVAL
    touching = update(sessions).where(sessions.c.id_hash == hash_of(session_id), seen_before)
    await conn.execute(touching.values(last_seen_at=now))


async def end(conn: AsyncConnection, session_id: str) -> bool:
    """End the session.  False if it had already ended."""
    ended = await conn.execute(delete(sessions).where(sessions.c.id_hash == hash_of(session_id)))
    return ended.rowcount == 1


async def end_all(conn: AsyncConnection, user_id: int, except_id: str | None = None) -> None:
    """End every session of this user except the one with the id `except_id`."""
    ending = delete(sessions).where(sessions.c.user_id == user_id)
    if except_id is not None:
        ending = ending.where(sessions.c.id_hash != hash_of(except_id))
    await conn.execute(ending)


async def of_user(
    conn: AsyncConnection, user_id: int, *, now: datetime, here: str | None = None
) -> list[Device]:
    """A user's active sessions, the last used first; `here` is the id of the caller's session."""
    own = here and hash_of(here)
    query = (
        select(sessions)
        .where(sessions.c.user_id == user_id, sessions.c.expires_at > now)
        .order_by(sessions.c.last_seen_at.desc(), sessions.c.id_hash)
    )
    return [
        Device(
            id=row.id_hash.hex(),
            address=row.address,
            user_agent=row.user_agent,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            current=row.id_hash == own,
        )
        for row in await conn.execute(query)
    ]


async def end_device(conn: AsyncConnection, user_id: int, device_id: str) -> None:
    """End one of a user's sessions.

    Raises:
        NotFound: the user has no such session.
    """
    try:
        id_hash = bytes.fromhex(device_id)
    except ValueError:
        raise NotFound("This session") from None
    ending = delete(sessions).where(sessions.c.id_hash == id_hash, sessions.c.user_id == user_id)
    if (await conn.execute(ending)).rowcount == 0:
        raise NotFound("This session")


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Delete the expired sessions; returns how many."""
    return (await conn.execute(delete(sessions).where(sessions.c.expires_at <= now))).rowcount


def hash_of(session_id: str) -> bytes:
    """The hash of a session id, as stored in the table."""
    # A cookie may contain unpaired surrogates, which plain UTF-8 cannot encode.
    return hashlib.sha256(session_id.encode(errors="surrogatepass")).digest()
