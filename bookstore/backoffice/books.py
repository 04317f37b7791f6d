"""Books as staff list them: views of the stock, filters, every column a way to sort."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import listing, models, search
from bookstore.catalogue.models import Book
from bookstore.database import list_pagination
from bookstore.database.list_pagination import Slice
from bookstore.database.tables import book_stock, books

#: A book with this few copies is low, where its own page says nothing else.
LOW_STOCK = 3


class Shelf(StrEnum):
    """Views of the stock."""

    LOW = "low"
    SOLD_OUT = "sold-out"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Stock:
    """How many books there are in each view; `low` are not sold out."""

    all: int
    low: int
    sold_out: int
    withdrawn: int


_LOW = book_stock.c.stock.between(1, func.coalesce(books.c.low_stock, LOW_STOCK))

SORTS: dict[str, ColumnElement[Any]] = {
    "new": books.c.id,
    "title": books.c.sort_title,
    "isbn": books.c.isbn13,
    "price": books.c.price_cents,
    "stock": book_stock.c.stock,
}
NEWEST, SCARCEST = "-new", "stock"


async def stock(conn: AsyncConnection) -> Stock:
    """How many books there are in each view.

    To look up each book beside its stock takes seconds where there are a million.  So both tables
    are counted by themselves, as if every book were sold and as low as all others, and then the
    books that are not are counted out.
    """
    sold, out = books.c.withdrawn_at.is_(None), book_stock.c.stock == 0
    stocks = select(
        _number(out).label("out"),
        _number(book_stock.c.stock.between(1, LOW_STOCK)).label("low"),
    ).subquery("stocks")
    others = (
        select(
            (_number(sold & _LOW) - _number(book_stock.c.stock.between(1, LOW_STOCK))).label("low"),
            _number(~sold & out).label("out"),
        )
        .join_from(books, book_stock, book_stock.c.book_id == books.c.id)
        .where(~sold | books.c.low_stock.is_not(None))
        .subquery("others")
    )
    found = await conn.execute(
        select(
            select(func.count()).where(sold).scalar_subquery().label("all"),
            (stocks.c.low + others.c.low).label("low"),
            (stocks.c.out - others.c.out).label("sold_out"),
            select(func.count()).where(~sold).scalar_subquery().label("withdrawn"),
        ).join_from(stocks, others, true())
    )
    return Stock(**{name: int(number) for name, number in found.one()._mapping.items()})


async def find(
    conn: AsyncConnection,
    query: listing.Query,
    view: Shelf | None,
    *,
    sort: str,
    cursor: str | None,
    limit: int,
) -> Slice[Book]:
    """Books that meet the query, in a view; its own `sort` plays no part.

    Raises:
        Invalid: the cursor is not one of this list's, or there is no such language.
    """
    by = list_pagination.order(sort, SORTS, books.c.id, NEWEST)
    found = await list_pagination.cut(
        conn, _filtered(conn, query, view), by, cursor=cursor, limit=limit
    )
    return found.of(await models.load(conn, found.items))


async def count(
    conn: AsyncConnection,
    query: listing.Query,
    view: Shelf | None,
    most: int = list_pagination.COUNTED,
) -> int:
    """How many books meet the query, up to `most`."""
    return await list_pagination.count(conn, _filtered(conn, query, view), most)


def ids(conn: AsyncConnection, query: listing.Query, view: Shelf | None) -> Select[tuple[int]]:
    """The ids of all books that meet the query."""
    return _filtered(conn, query, view).with_only_columns(books.c.id)


async def low_stock(conn: AsyncConnection, book_id: int) -> int | None:
    """From how many copies on this book is low; None where it is as the store's others."""
    found: int | None = await conn.scalar(select(books.c.low_stock).where(books.c.id == book_id))
    return found


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _filtered(conn: AsyncConnection, query: listing.Query, view: Shelf | None) -> Select[Any]:
    found = listing.filtered(query)
    question = (query.q or "").strip()
    if question:
        found = found.where(search.matching(conn, question).condition)
    if view is Shelf.WITHDRAWN:
        return found.where(books.c.withdrawn_at.is_not(None))
    found = found.where(books.c.withdrawn_at.is_(None))
    if view is Shelf.LOW:
        found = found.where(_LOW)
    elif view is Shelf.SOLD_OUT:
        found = found.where(book_stock.c.stock == 0)
    return found
