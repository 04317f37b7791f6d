"""The session and the user for a request's cookie.

Every request needs them, so concurrent requests share a query.  Nothing is cached: each request
gets the result of a query that began after the request arrived.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database import documents
from bookstore.database.engine import reading, request_deadline, retry_batch
from bookstore.database.group_commit import GroupCommit
from bookstore.database.statements import BulkQuery
from bookstore.database.tables import parse_utc
from bookstore.users.accounts import User, user_from_row
from bookstore.users.sessions import hash_of

#: The largest batch; a process admits fewer requests at once.
MAX_BATCH = 100


@dataclass(frozen=True, slots=True)
class FoundSession:
    """The session of a request; `user` is None if the session is not signed in."""

    data: dict[str, Any]
    created_at: datetime
    last_seen_at: datetime
    user: User | None


_FIND = BulkQuery(
    "place INT, id_hash CHAR(64)",
    """v.place, s.data, s.created_at, s.last_seen_at, u.id, u.email, u.name, u.role,
    u.email_verified_at IS NOT NULL, u.disabled_at IS NOT NULL, u.created_at,
    u.totp_at IS NOT NULL, u.language""",
    """
    FROM {rows} AS v {join} sessions AS s ON s.id_hash = UNHEX(v.id_hash) AND s.expires_at > :now
    LEFT JOIN users AS u ON u.id = s.user_id
    """,
)


class SessionLookup:
    """Looks up the sessions of one process's requests in batches."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._lookups = GroupCommit(self._find_all, limit=MAX_BATCH)

    async def find(self, session_id: str) -> FoundSession | None:
        """The session with this id; None if it is unknown, ended or expired.

        Raises:
            TimeoutError: the database does not answer in time.
        """
        # The wait for the batch before this one counts too.
        async with request_deadline(self._engine):
            return await self._lookups(session_id)

    async def _find_all(self, session_ids: list[str]) -> Sequence[FoundSession | Exception | None]:
        rows = [(place, hash_of(each).hex()) for place, each in enumerate(session_ids)]

        async def work() -> list[FoundSession | None]:
            async with reading(self._engine) as conn:
                found = await _FIND(conn, rows, now=datetime.now(UTC))
            sessions: list[FoundSession | None] = [None] * len(rows)
            for place, data, created_at, last_seen_at, *user in found:
                content = documents.SESSION.parse(data)
                if documents.is_damaged(content):
                    continue  # Its visitor gets a new session.
                sessions[place] = FoundSession(
                    content, parse_utc(created_at), parse_utc(last_seen_at), _user(user)
                )
            return sessions

        return await retry_batch(work, len(rows))


def _user(values: Sequence[Any]) -> User | None:
    """The user with these values of `User`'s fields, in their order; None without a user."""
    found = dict(zip(User.__slots__, values, strict=True))
    if found["id"] is None:
        return None
    return user_from_row(SimpleNamespace(**found | {"created_at": parse_utc(found["created_at"])}))
