"""Heartbeats of the background loops, which show that they still run."""

from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import heartbeats


async def beat(conn: AsyncConnection, name: str, *, now: datetime) -> None:
    """Record that `name` is alive.  Each name has one writer."""
    later_beat = update(heartbeats).where(heartbeats.c.name == name).values(beat_at=now)
    if (await conn.execute(later_beat)).rowcount == 0:
        await conn.execute(insert(heartbeats).values(name=name, beat_at=now))


async def latest(conn: AsyncConnection) -> datetime | None:
    """The time of the latest heartbeat of any loop; None when there is none."""
    found: datetime | None = await conn.scalar(select(func.max(heartbeats.c.beat_at)))
    return found


async def purge(conn: AsyncConnection, *, before: datetime) -> None:
    """Delete heartbeats from before this time: each process has a new name, so old ones pile up."""
    await conn.execute(delete(heartbeats).where(heartbeats.c.beat_at < before))
