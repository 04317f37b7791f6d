"""What has to be done now and then: sealing what is to stay, throwing away what is not."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts, failures, files, heartbeats, idempotency, jobs, seals, sessions

#: A process that has been silent for so long is not coming back.
SILENCE = timedelta(days=1)
#: Whoever still wonders why something failed has asked by then.
FAILURES_KEPT = timedelta(days=90)


async def tidy(conn: AsyncConnection, *, now: datetime) -> None:
    """Seal the audit log; drop what has expired or was left behind."""
    await seals.seal(conn, now=now)
    await sessions.purge(conn, now=now)
    await carts.purge(conn, now=now)
    await idempotency.purge(conn, now=now)
    await files.purge(conn, now=now)
    await jobs.purge(conn, now=now)
    await heartbeats.forget(conn, before=now - SILENCE)
    await failures.forget(conn, before=now - FAILURES_KEPT)
