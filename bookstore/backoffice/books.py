"""The books list of the back office: stock views, filters and sorting."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import listing, models, search
from bookstore.catalogue.models import Book
from bookstore.database import list_pagination
from bookstore.database.list_pagination import ListPage
from bookstore.database.tables import book_stock, books

#: The stock of a book is low at this quantity or below, unless the book has its own threshold.
LOW_STOCK = 3


class StockFilter(StrEnum):
    """The stock views of the list."""

    LOW = "low"
    SOLD_OUT = "sold-out"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Stock:
    """The number of books in each view; `low` excludes sold-out books."""

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
    """The number of books in each view.

    A join of books and stock takes seconds for a million books.  So both tables are counted
    separately, as if every book were on sale with the default threshold.  Then the few withdrawn
    books and those with their own threshold are joined to correct the numbers.
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
    query: listing.BookQuery,
    view: StockFilter | None,
    *,
    sort: str,
    cursor: str | None,
    limit: int,
) -> ListPage[Book]:
    """The books that match the query, in a stock view; the query's own `sort` is ignored.

    Raises:
        Invalid: the cursor does not belong to this list, or the language is unknown.
    """
    by = list_pagination.order(sort, SORTS, books.c.id, NEWEST)
    found = await list_pagination.select_page(
        conn, _filtered(conn, query, view), by, cursor=cursor, limit=limit
    )
    return found.with_items(await models.load(conn, found.items))


async def count(
    conn: AsyncConnection,
    query: listing.BookQuery,
    view: StockFilter | None,
    up_to: int = list_pagination.MAX_COUNT,
) -> int:
    """How many books match the query, at most `up_to`."""
    return await list_pagination.count(conn, _filtered(conn, query, view), up_to)


def ids(
    conn: AsyncConnection, query: listing.BookQuery, view: StockFilter | None
) -> Select[tuple[int]]:
    """A query for the ids of all books that match."""
    return _filtered(conn, query, view).with_only_columns(books.c.id)


async def low_stock(conn: AsyncConnection, book_id: int) -> int | None:
    """The quantity at which this book's stock is low; None means the store's default."""
    found: int | None = await conn.scalar(select(books.c.low_stock).where(books.c.id == book_id))
    return found


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _filtered(
    conn: AsyncConnection, query: listing.BookQuery, view: StockFilter | None
) -> Select[Any]:
    found = listing.filtered(query)
    search_text = (query.q or "").strip()
    if search_text:
        found = found.where(search.matching(conn, search_text).condition)
    if view is StockFilter.WITHDRAWN:
        return found.where(books.c.withdrawn_at.is_not(None))
    found = found.where(books.c.withdrawn_at.is_(None))
    if view is StockFilter.LOW:
        found = found.where(_LOW)
    elif view is StockFilter.SOLD_OUT:
        found = found.where(book_stock.c.stock == 0)
    return found
