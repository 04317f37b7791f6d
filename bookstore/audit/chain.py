"""Seals on the audit log: whoever changes or removes a row that is sealed breaks a chain.

    rows 1..40 ──> seal of 40 ──┐
    rows 41..95 ────────────────┴──> seal of 95 ──> ...

A seal is the SHA-256 of the seal before it and of the rows since.  The log itself is only
ever added to, so the account that the store uses in the database needs neither UPDATE nor
DELETE on `audit_log`.  Each new seal is logged as well: with its line, kept elsewhere, the
end of the chain cannot be cut off unseen.
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

#: Ids become visible out of order: every transaction that may still add a row among those
#: that are to be sealed has ended by then.
SETTLED = timedelta(minutes=10)
#: Rows under one seal; a broken one is named by them.
MOST_ROWS = 1000


async def seal(conn: AsyncConnection, *, now: datetime) -> None:
    """Seal what has settled, and mark what is to be sealed next.

    Several processes may do so at once: one of them wins.
    """
    latest = (
        await conn.execute(select(audit_chain).order_by(audit_chain.c.up_to_id.desc()).limit(1))
    ).one_or_none()
    if latest is not None and latest.digest is None:
        if latest.marked_at > now - SETTLED:
            return
        await _seal_marked(conn, latest.after_id, latest.up_to_id, latest.marked_at)
    await _mark(conn, latest.up_to_id if latest else 0, now)


async def broken(conn: AsyncConnection) -> AsyncIterator[str]:
    """The seals that do not fit their rows any more, or the seal before them."""
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
                yield f"no seal on audit rows {after_id + 1} to {row.after_id}"
            if row.digest != await _digest(conn, row.after_id, row.up_to_id):
                yield f"audit rows {row.after_id + 1} to {row.up_to_id}"
            after_id = row.up_to_id
        if not found:
            return


async def _seal_marked(
    conn: AsyncConnection, after_id: int, marked_id: int, marked_at: datetime
) -> None:
    """Seal the rows up to the mark, so many at a time; the mark itself is the last seal."""
    mark = audit_chain.c.up_to_id == marked_id
    while (up_to_id := await _next_end(conn, after_id, marked_id)) < marked_id:
        await conn.execute(update(audit_chain).where(mark).values(after_id=up_to_id))
        digest = await _digest(conn, after_id, up_to_id)
        await conn.execute(
            insert(audit_chain).values(
                after_id=after_id, up_to_id=up_to_id, digest=digest, marked_at=marked_at
            )
        )
        after_id = up_to_id
    digest = await _digest(conn, after_id, marked_id)
    await conn.execute(update(audit_chain).where(mark).values(digest=digest))
    log.info("audit log sealed up to %d: %s", marked_id, digest.hex())


async def _next_end(conn: AsyncConnection, after_id: int, marked_id: int) -> int:
    found = await conn.execute(
        select(audit_log.c.id)
        .where(audit_log.c.id > after_id, audit_log.c.id < marked_id)
        .order_by(audit_log.c.id)
        .offset(MOST_ROWS - 1)
        .limit(1)
    )
    return found.scalar() or marked_id


async def _mark(conn: AsyncConnection, after_id: int, now: datetime) -> None:
    found = await conn.execute(select(func.max(audit_log.c.id)).where(audit_log.c.id > after_id))
    up_to_id = found.scalar()
    if up_to_id is None:
        return
    try:
        async with conn.begin_nested():
            await conn.execute(
                insert(audit_chain).values(after_id=after_id, up_to_id=up_to_id, marked_at=now)
            )
    except IntegrityError:  # Another process has marked them.
        log.debug("marked already")


async def _digest(conn: AsyncConnection, after_id: int, up_to_id: int) -> bytes:
    """The seal before, and each row since, in the order of their ids.

    Without the network address, which is forgotten before the rest.
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
