"""Throttling of failed attempts, such as wrong passwords (OWASP, Authentication Cheat Sheet).

Failures are counted by name: an account, a network or a device.  The counts are in the database,
so that all processes share them.  Names are stored as hashes, because a mistyped e-mail address is
personal data.
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
    """`free` attempts without a pause; then a pause that doubles with each further failure."""

    free: int
    first_pause: timedelta
    longest_pause: timedelta

    def pause(self, failures: int) -> timedelta:
        """The pause after this number of failures."""
        if failures < self.free:
            return timedelta()
        # A timedelta overflows for large powers of two.
        doubled: int = 1 << min(failures - self.free, 32)
        return min(self.first_pause * doubled, self.longest_pause)


async def wait_s(conn: AsyncConnection, names: Mapping[str, Rule], *, now: datetime) -> int:
    """Seconds until the next attempt is allowed for all these names; 0 if it is allowed now."""
    return _wait_s(await _failures(conn, names, lock=False), names, now)


async def count(conn: AsyncConnection, names: Mapping[str, Rule], *, now: datetime) -> int:
    """Count an attempt as failed for all these names, before it is made.

    Counting first prevents that concurrent attempts exceed the limit; call `undo` or `forget`
    after a success.  If one of the names must wait, nothing is counted and the result is the
    wait in seconds, otherwise 0.

    Raises:
        Repeat: a concurrent transaction counted the first failure of a name.
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
        except IntegrityError:  # A concurrent transaction inserted the same name.
            raise Repeat from None
    return 0


async def undo(conn: AsyncConnection, names: Collection[str]) -> None:
    """Subtract one failure from each of these names, after an attempt that did not fail."""
    for name in sorted(names, key=_hash):
        own, failures = failed_attempts.c.name_hash == _hash(name), failed_attempts.c.failures
        undoing = update(failed_attempts).where(own, failures > 0)
        await conn.execute(undoing.values(failures=failures - 1))


async def forget(conn: AsyncConnection, names: Collection[str]) -> None:
    """Delete all failures of these names."""
    for name in sorted(names, key=_hash):
        own = failed_attempts.c.name_hash == _hash(name)
        await conn.execute(delete(failed_attempts).where(own))


async def purge(conn: AsyncConnection, *, now: datetime) -> None:
    """Delete the expired counts."""
    await conn.execute(delete(failed_attempts).where(failed_attempts.c.forget_at <= now))


async def _failures(
    conn: AsyncConnection, names: Collection[str], *, lock: bool
) -> dict[str, tuple[int, datetime]]:
    """The number of failures and the time of the last one, by name, for names that have any."""
    by_hash = {_hash(name): name for name in names}
    name_hash = failed_attempts.c.name_hash
    query = select(name_hash, failed_attempts.c.failures, failed_attempts.c.failed_at)
    query = query.where(name_hash.in_(sorted(by_hash))).order_by(name_hash)
    found = await conn.execute(query.with_for_update() if lock else query)
    return {by_hash[bytes(row.name_hash)]: (row.failures, row.failed_at) for row in found}


def _wait_s(
    known: Mapping[str, tuple[int, datetime]], names: Mapping[str, Rule], now: datetime
) -> int:
    # Without a pause nobody waits, not even if a concurrent attempt began a little later.
    ends = [
        failed_at + pause
        for name, (failures, failed_at) in known.items()
        if (pause := names[name].pause(failures))
    ]
    # Rounded up, because 0 would mean that the attempt is allowed.
    return max([math.ceil((end - now).total_seconds()) for end in ends if end > now], default=0)


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()
