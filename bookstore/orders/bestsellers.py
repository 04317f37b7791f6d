"""Bestsellers: the books sold most in the latest orders."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books as catalogue_books
from bookstore.catalogue.models import Book
from bookstore.database.tables import books, order_lines, orders
from bookstore.orders.states import State

#: The number of latest orders that are counted.  Order lines are stored in order of their orders,
#: so a few thousand of them are read quickly.
_LATEST = 2000


async def bestsellers(conn: AsyncConnection, limit: int) -> list[Book]:
    """The books sold most in the latest orders, the best-selling first."""
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
    found = await catalogue_books.by_ids(conn, ids)
    return [found[book_id] for book_id in ids]
