"""Guessing is slow: whoever fails too often has to wait (OWASP, Authentication).

Failures are counted by name: an account, a network, a device.  They lie in the database, so
that all processes count together; as hashes, because an address that somebody has mistyped
is nobody's business.
"""

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.engine import Repeat
from bookstore.database.tables import failed_attempts


@dataclass(frozen=True, slots=True)
class Rule:
    """So many tries are free; then comes a pause, which doubles with each further one."""

    free: int
    first_pause: timedelta
    longest_pause: timedelta

    def pause(self, failures: int) -> timedelta:
        """How long to wait after so many failures."""
        if failures < self.free:
            return timedelta()
        # Two to the power of a large number is none that a timedelta takes.
        doubled: int = 1 << min(failures - self.free, 32)
        return min(self.first_pause * doubled, self.longest_pause)


async def wait_s(conn: AsyncConnection, names: Mapping[str, Rule], *, now: datetime) -> int:
    """How many seconds are left until the next try of these names; 0 when it may be made."""
    return _wait_s(await _failures(conn, names, lock=False), names, now)


async def count(conn: AsyncConnection, names: Mapping[str, Rule], *, now: datetime) -> int:
    """Count a try of all these names as failed, before it is made: none overtakes another.

    When one of them has to wait, nothing is counted and the answer is for how many seconds;
    else it is 0.
    """
    known = await _failures(conn, names, lock=True)
    wait = _wait_s(known, names, now)
    if wait:
        return wait
    for name in sorted(names, key=_hash):
        failures, failed_at = known.get(name, (0, now))
        forgotten = failed_at + names[name].longest_pause <= now
        values = {
            "failures": 1 if forgotten else failures + 1,
            "failed_at": now,
            "forget_at": now + names[name].longest_pause,
        }
        if name in known:
            own = failed_attempts.c.name_hash == _hash(name)
            await conn.execute(update(failed_attempts).where(own).values(values))
            continue
        try:
            await conn.execute(insert(failed_attempts).values(name_hash=_hash(name), **values))
        except IntegrityError:  # Somebody else failed for the first time at the same moment.
            raise Repeat from None
    return 0


async def undo(conn: AsyncConnection, names: Collection[str]) -> None:
    """Take back a failure that was none."""
    for name in sorted(names, key=_hash):
        await conn.execute(
            update(failed_attempts)
            .where(failed_attempts.c.name_hash == _hash(name), failed_attempts.c.failures > 0)
            .values(failures=failed_attempts.c.failures - 1)
        )


async def forget(conn: AsyncConnection, names: Collection[str]) -> None:
    """Forget all failures of these names."""
    for name in sorted(names, key=_hash):
        await conn.execute(
            delete(failed_attempts).where(failed_attempts.c.name_hash == _hash(name))
        )


async def purge(conn: AsyncConnection, *, now: datetime) -> None:
    """Drop what is forgotten anyway."""
    await conn.execute(delete(failed_attempts).where(failed_attempts.c.forget_at <= now))


async def _failures(
    conn: AsyncConnection, names: Collection[str], *, lock: bool
) -> dict[str, tuple[int, datetime]]:
    """How often each name has failed, and when it did last."""
    by_hash = {_hash(name): name for name in names}
    query = (
        select(failed_attempts.c.name_hash, failed_attempts.c.failures, failed_attempts.c.failed_at)
        .where(failed_attempts.c.name_hash.in_(sorted(by_hash)))
        .order_by(failed_attempts.c.name_hash)
    )
    found = await conn.execute(query.with_for_update() if lock else query)
    return {by_hash[bytes(row.name_hash)]: (row.failures, row.failed_at) for row in found}


def _wait_s(
    known: Mapping[str, tuple[int, datetime]], names: Mapping[str, Rule], now: datetime
) -> int:
    ends = [
        failed_at + names[name].pause(failures) for name, (failures, failed_at) in known.items()
    ]
    # Never 0 for a fraction of a second: that would mean that it may be made.
    return max([math.ceil((end - now).total_seconds()) for end in ends if end > now], default=0)


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()
