"""What is thrown away when its time is over."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import heartbeats, idempotency, sessions

#: A process that has been silent for so long is not coming back.
SILENCE = timedelta(days=1)


async def tidy(conn: AsyncConnection, *, now: datetime) -> None:
    """Drop expired sessions, old idempotency keys and the heartbeats of processes long gone."""
    await sessions.purge(conn, now=now)
    await idempotency.purge(conn, now=now)
    await heartbeats.forget(conn, before=now - SILENCE)
