"""The books list of the back office: stock views, filters and sorting."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.backoffice import lists
from bookstore.backoffice.lists import List
from bookstore.catalogue import listing, models, search
from bookstore.database.tables import book_stock, books
from bookstore.exports import Money
from bookstore.users.permissions import Permission

#: The stock of a book is low at this quantity or below, unless the book has its own threshold.
LOW_STOCK = 3


class StockFilter(StrEnum):
    """The stock views of the list."""

    LOW = "low"
    SOLD_OUT = "sold-out"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookListQuery:
    """Filters for books, with a stock view; None means no filter."""

    q: str | None = None
    category: str | None = None
    min_price_cents: int | None = None
    max_price_cents: int | None = None
    in_stock: bool | None = None
    view: StockFilter | None = None


@dataclass(frozen=True, slots=True)
class Stock:
    """The number of books in each view; `low` excludes sold-out books."""

    all: int
    low: int
    sold_out: int
    withdrawn: int


_LOW = book_stock.c.stock.between(1, func.coalesce(books.c.low_stock, LOW_STOCK))


async def stock(conn: AsyncConnection) -> Stock:
    """The number of books in each view.

    A join of books and stock takes seconds for a million books.  So both tables are counted
    separately, as if every book were on sale with the default threshold.  Then the few withdrawn
    books and those with their own threshold are joined to correct the numbers.
    """
    sold, out = books.c.withdrawn_at.is_(None), book_stock.c.stock == 0
    stocks = select(
        _number(out).label("out"), _number(book_stock.c.stock.between(1, LOW_STOCK)).label("low")
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


async def low_stock(conn: AsyncConnection, book_id: int) -> int | None:
    """The quantity at which this book's stock is low; None means the store's default."""
    found: int | None = await conn.scalar(select(books.c.low_stock).where(books.c.id == book_id))
    return found


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


async def _select(conn: AsyncConnection, query: BookListQuery) -> Select[Any]:
    found = listing.filtered(
        listing.BookQuery(
            category=query.category,
            min_price_cents=query.min_price_cents,
            max_price_cents=query.max_price_cents,
            in_stock=query.in_stock,
        )
    )
    if search_text := (query.q or "").strip():
        found = found.where(search.matching(conn, search_text).condition)
    if query.view == StockFilter.WITHDRAWN:
        return found.where(books.c.withdrawn_at.is_not(None))
    found = found.where(books.c.withdrawn_at.is_(None))
    if query.view == StockFilter.LOW:
        return found.where(_LOW)
    return found.where(book_stock.c.stock == 0) if query.view == StockFilter.SOLD_OUT else found


BOOKS = List(
    name="books",
    query=BookListQuery,
    select=_select,
    load=models.load,
    id=books.c.id,
    sorts={
        "new": books.c.id,
        "title": books.c.sort_title,
        "isbn": books.c.isbn13,
        "price": books.c.price_cents,
        "stock": book_stock.c.stock,
    },
    default_sort="-new",
    # The columns of an import, so that the file can be edited and imported again.
    columns={
        "isbn": "isbn13",
        "title": "title",
        "authors": lambda book, _: "|".join(person.name for person in book.authors),
        "price": lambda book, currency: Money(book.price_cents, currency),
        "currency": lambda _, currency: currency,
        **lists.attributes("stock", "year", "language"),
        "category": lambda book, _: "|".join(category.name for category in book.categories),
    },
    export_permission=Permission.EXPORT_BOOKS,
)
