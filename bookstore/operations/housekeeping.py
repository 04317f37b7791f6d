"""What has to be done now and then: sealing what is to stay, throwing away what is not."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts, idempotency
from bookstore.audit import chain
from bookstore.backoffice import bulk_changes
from bookstore.database import file_store
from bookstore.notifications import link_tokens
from bookstore.privacy import erasure
from bookstore.tasks import failures, heartbeats, jobs
from bookstore.users import api_tokens, attempts, sessions

#: A process that has been silent for so long is not coming back.
SILENCE = timedelta(days=1)
#: Whoever still wonders why something failed has asked by then.
FAILURES_KEPT = timedelta(days=90)
#: So long its owner still sees a token that has expired, and why a program fails.
TOKENS_KEPT = timedelta(days=30)
#: Until then a bulk change can be undone.
PLANS_KEPT = timedelta(days=30)


async def tidy(conn: AsyncConnection, *, now: datetime) -> None:
    """Seal the audit log; drop what has expired or was left behind."""
    await chain.seal(conn, now=now)
    await sessions.purge(conn, now=now)
    await carts.purge(conn, now=now)
    await api_tokens.purge(conn, before=now - TOKENS_KEPT)
    await link_tokens.purge(conn, now=now)
    await attempts.purge(conn, now=now)
    await erasure.purge(conn, now=now)
    await idempotency.purge(conn, now=now)
    await file_store.purge(conn, now=now)
    await jobs.purge(conn, now=now)
    await heartbeats.forget(conn, before=now - SILENCE)
    await failures.forget(conn, before=now - FAILURES_KEPT)
    await bulk_changes.forget(conn, before=now - PLANS_KEPT)
