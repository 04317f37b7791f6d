"""Signs of life of the loops that nobody sees."""

from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import heartbeats


async def beat(conn: AsyncConnection, name: str, *, now: datetime) -> None:
    """Note that `name` is alive.  Each name has one writer."""
    changed = await conn.execute(
        update(heartbeats).where(heartbeats.c.name == name).values(beat_at=now)
    )
    if changed.rowcount == 0:
        await conn.execute(insert(heartbeats).values(name=name, beat_at=now))


async def latest(conn: AsyncConnection) -> datetime | None:
    """When any of them was last alive."""
    found: datetime | None = await conn.scalar(select(func.max(heartbeats.c.beat_at)))
    return found


async def forget(conn: AsyncConnection, *, before: datetime) -> None:
    """Drop those that stopped long ago: every process has a name of its own."""
    await conn.execute(delete(heartbeats).where(heartbeats.c.beat_at < before))
