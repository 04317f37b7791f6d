"""Periodic housekeeping: extend the audit chain and delete expired rows."""

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

#: A process without a heartbeat for this long has stopped for good.
HEARTBEAT_RETENTION = timedelta(days=1)
#: How long the error of a failed attempt is kept for diagnosis.
FAILURE_RETENTION = timedelta(days=90)
#: How long an expired token stays visible, so that its owner sees why a program fails.
TOKEN_RETENTION = timedelta(days=30)
#: How long a bulk change can be undone.
BULK_CHANGE_RETENTION = timedelta(days=30)


async def run(conn: AsyncConnection, *, now: datetime) -> None:
    """Extend the audit chain; delete expired and abandoned rows.  Safe to repeat."""
    await chain.add_checkpoint(conn, now=now)
    await sessions.purge(conn, now=now)
    await carts.purge(conn, now=now)
    await api_tokens.purge(conn, before=now - TOKEN_RETENTION)
    await link_tokens.purge(conn, now=now)
    await attempts.purge(conn, now=now)
    await erasure.purge(conn, now=now)
    await idempotency.purge(conn, now=now)
    await file_store.purge(conn, now=now)
    await jobs.purge(conn, now=now)
    await heartbeats.purge(conn, before=now - HEARTBEAT_RETENTION)
    await failures.purge(conn, before=now - FAILURE_RETENTION)
    await bulk_changes.forget(conn, before=now - BULK_CHANGE_RETENTION)
