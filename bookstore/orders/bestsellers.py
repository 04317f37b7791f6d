"""What the store's pages ask of the catalogue, beside lists and single books."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import models
from bookstore.catalogue.models import Book
from bookstore.database.tables import books, order_lines, orders
from bookstore.orders.states import State

#: Orders that decide what is bestselling; lines lie in order of their orders, so that a few
#: thousand of them are read in a moment.
_LATEST = 2000


class LanguageCount(NamedTuple):
    """A language (BCP 47) and how many of the books that are sold are in it."""

    tag: str
    book_count: int


async def by_ids(conn: AsyncConnection, book_ids: Collection[int]) -> dict[int, Book]:
    """These books, withdrawn ones too; what is not there is left out."""
    if not book_ids:
        return {}
    query = models.select_books().where(books.c.id.in_(sorted(book_ids)))
    rows = (await conn.execute(query)).all()
    return {book.id: book for book in await models.load(conn, rows)}


async def languages(conn: AsyncConnection) -> list[LanguageCount]:
    """In which languages there are books, the commonest first."""
    found = await conn.execute(
        select(books.c.language, func.count().label("book_count"))
        .where(books.c.withdrawn_at.is_(None), books.c.language.is_not(None))
        .group_by(books.c.language)
        .order_by(func.count().desc(), books.c.language)
    )
    return [LanguageCount(row.language, row.book_count) for row in found]


async def bestsellers(conn: AsyncConnection, limit: int) -> list[Book]:
    """The books of which most copies were sold with the latest orders, the most sold first."""
    latest = (
        select(orders.c.id)
        .where(orders.c.status.not_in([State.REJECTED, State.CANCELLED]))
        .order_by(orders.c.id.desc())
        .limit(_LATEST)
        .subquery()
    )
    sold = await conn.execute(
        select(order_lines.c.book_id)
        .join(latest, latest.c.id == order_lines.c.order_id)
        .join(books, books.c.id == order_lines.c.book_id)
        .where(books.c.withdrawn_at.is_(None))
        .group_by(order_lines.c.book_id)
        .order_by(func.sum(order_lines.c.quantity).desc(), order_lines.c.book_id)
        .limit(limit)
    )
    ids = list(sold.scalars())
    found = await by_ids(conn, ids)
    return [found[book_id] for book_id in ids]


async def parts(conn: AsyncConnection, size: int) -> int:
    """Into how many parts the books have to be cut so that none holds more than `size`.

    Cut by id, so that a part stays what it is while others grow.
    """
    last = await conn.scalar(select(func.max(books.c.id)))
    return -(-(last or 0) // size)


async def part(conn: AsyncConnection, number: int, size: int) -> list[tuple[int, datetime]]:
    """The ids of the books of a part (1, 2, 3 ...) that are sold, and when each was changed."""
    first = (number - 1) * size
    found = await conn.execute(
        select(books.c.id, books.c.updated_at)
        .where(books.c.id > first, books.c.id <= first + size, books.c.withdrawn_at.is_(None))
        .order_by(books.c.id)
    )
    return [(row.id, row.updated_at) for row in found]
