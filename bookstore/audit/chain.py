"""The hash chain of the audit log: changing or removing a covered row breaks the chain.

    rows 1..40 ──> checkpoint 40 ──┐
    rows 41..95 ───────────────────┴──> checkpoint 95 ──> ...

A checkpoint is the SHA-256 of the previous checkpoint and of the rows since.  `audit_log` itself
is append-only, so the store's database account needs neither UPDATE nor DELETE on it.  Each
checkpoint is also written to the program log: with those lines stored elsewhere, removing the end
of the chain is detected, too.
"""

import json
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import audit_chain, audit_log

log = logging.getLogger(__name__)

#: Delay between choosing the last row of a checkpoint and computing it.  Ids become visible out of
#: order; after this time every transaction that could still insert a row in the range has ended.
SETTLE_TIME = timedelta(minutes=10)
#: Rows in a checkpoint.  A broken checkpoint is reported as this range of rows.
MAX_ROWS = 1000


async def add_checkpoint(conn: AsyncConnection, *, now: datetime) -> None:
    """Compute the pending checkpoint if `SETTLE_TIME` has passed, and begin the next one.

    Safe to run in several processes at once: one of them wins.
    """
    latest = (
        await conn.execute(select(audit_chain).order_by(audit_chain.c.up_to_id.desc()).limit(1))
    ).one_or_none()
    if latest is not None and latest.digest is None:
        if latest.marked_at > now - SETTLE_TIME:
            return
        await _complete_checkpoint(conn, latest.after_id, latest.up_to_id, latest.marked_at)
    await _begin_checkpoint(conn, latest.up_to_id if latest else 0, now)


async def verify(conn: AsyncConnection) -> AsyncIterator[str]:
    """The breaks of the chain: missing checkpoints, and rows that do not match theirs."""
    after_id = 0
    while True:
        found = (
            await conn.execute(
                select(audit_chain)
                .where(audit_chain.c.up_to_id > after_id, audit_chain.c.digest.is_not(None))
                .order_by(audit_chain.c.up_to_id)
                .limit(100)
            )
        ).all()
        for row in found:
            if row.after_id != after_id:
                yield f"no checkpoint for audit rows {after_id + 1} to {row.after_id}"
            if row.digest != await _digest(conn, row.after_id, row.up_to_id):
                yield f"audit rows {row.after_id + 1} to {row.up_to_id}"
            after_id = row.up_to_id
        if not found:
            return


async def _complete_checkpoint(
    conn: AsyncConnection, after_id: int, last_id: int, marked_at: datetime
) -> None:
    """Compute the pending checkpoint, preceded by intermediate ones every `MAX_ROWS` rows."""
    pending = audit_chain.c.up_to_id == last_id
    while (up_to_id := await _next_end(conn, after_id, last_id)) < last_id:
        await conn.execute(update(audit_chain).where(pending).values(after_id=up_to_id))
        digest = await _digest(conn, after_id, up_to_id)
        await conn.execute(
            insert(audit_chain).values(
                after_id=after_id, up_to_id=up_to_id, digest=digest, marked_at=marked_at
            )
        )
        after_id = up_to_id
    digest = await _digest(conn, after_id, last_id)
    await conn.execute(update(audit_chain).where(pending).values(digest=digest))
    log.info("audit chain checkpoint at row %d: %s", last_id, digest.hex())


async def _next_end(conn: AsyncConnection, after_id: int, last_id: int) -> int:
    found = await conn.execute(
        select(audit_log.c.id)
        .where(audit_log.c.id > after_id, audit_log.c.id < last_id)
        .order_by(audit_log.c.id)
        .offset(MAX_ROWS - 1)
        .limit(1)
    )
    return found.scalar() or last_id


async def _begin_checkpoint(conn: AsyncConnection, after_id: int, now: datetime) -> None:
    found = await conn.execute(select(func.max(audit_log.c.id)).where(audit_log.c.id > after_id))
    up_to_id = found.scalar()
    if up_to_id is None:
        return
    try:
        async with conn.begin_nested():
            await conn.execute(
                insert(audit_chain).values(after_id=after_id, up_to_id=up_to_id, marked_at=now)
            )
    except IntegrityError:  # Another process has begun the same checkpoint.
        log.debug("checkpoint already begun")


async def _digest(conn: AsyncConnection, after_id: int, up_to_id: int) -> bytes:
    """The hash of the previous checkpoint and of the rows since, in the order of their ids.

    The network address is not part of it, because it is deleted before the rest of the row.
    """
    before = await conn.execute(
        select(audit_chain.c.digest).where(audit_chain.c.up_to_id == after_id)
    )
    chain = sha256(before.scalar() or b"")
    columns = [column for column in audit_log.c if column.name != "address"]
    found = await conn.execute(
        select(*columns)
        .where(audit_log.c.id > after_id, audit_log.c.id <= up_to_id)
        .order_by(audit_log.c.id)
    )
    for row in found:
        chain.update(json.dumps(list(row), default=str, sort_keys=True).encode())
    return chain.digest()
