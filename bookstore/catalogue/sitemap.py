"""The books on sale in parts of limited size, for sitemaps."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import books


async def count_parts(conn: AsyncConnection, size: int) -> int:
    """The number of parts, each with at most `size` books.

    Parts are ranges of ids, so that a part does not change when books are added.
    """
    last = await conn.scalar(select(func.max(books.c.id)))
    return -(-(last or 0) // size)


async def get_part(conn: AsyncConnection, number: int, size: int) -> list[tuple[int, datetime]]:
    """The ids of the books on sale in a part (1, 2, 3 ...), and when each was changed."""
    first = (number - 1) * size
    found = await conn.execute(
        select(books.c.id, books.c.updated_at)
        .where(books.c.id > first, books.c.id <= first + size, books.c.withdrawn_at.is_(None))
        .order_by(books.c.id)
    )
    return [(row.id, row.updated_at) for row in found]
