"""Who comes with a cookie: the session behind it and its user.

Every request asks, so those that ask at the same moment share a query.  Nothing is kept: each is
answered by a query that began after it had come.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import reading, request_deadline, retry_batch
from bookstore.database.group_commit import GroupCommit
from bookstore.database.statements import BulkQuery
from bookstore.database.tables import moment
from bookstore.users.accounts import User, user_of
from bookstore.users.sessions import hash_of

#: More requests than a process admits at once never come together.
TOGETHER = 100


@dataclass(frozen=True, slots=True)
class FoundSession:
    """What a request has to know of its session; `user` is None when nobody is signed in."""

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
    """The visits of one process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._together = GroupCommit(self._find, limit=TOGETHER)

    async def of(self, session_id: str) -> FoundSession | None:
        """The visit with this session; None when it ended, expired or never was.

        Raises:
            TimeoutError: the database stands still.
        """
        # Those before it may have waited for the database, too.
        async with request_deadline(self._engine):
            return await self._together(session_id)

    async def _find(self, session_ids: list[str]) -> Sequence[FoundSession | Exception | None]:
        rows = [(place, hash_of(it).hex()) for place, it in enumerate(session_ids)]

        async def work() -> list[FoundSession | None]:
            async with reading(self._engine) as conn:
                found = await _FIND(conn, rows, now=datetime.now(UTC))
            visits: list[FoundSession | None] = [None] * len(rows)
            for place, data, created_at, last_seen_at, *user in found:
                visits[place] = FoundSession(
                    json.loads(data), moment(created_at), moment(last_seen_at), _user(user)
                )
            return visits

        return await retry_batch(work, len(rows))


def _user(values: Sequence[Any]) -> User | None:
    """The user whose fields these are, in their order."""
    found = dict(zip(User.__slots__, values, strict=True))
    if found["id"] is None:
        return None
    return user_of(SimpleNamespace(**found | {"created_at": moment(found["created_at"])}))
