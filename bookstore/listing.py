"""Lists of books: filtered, sorted and cut into pages.

A page is three statements, whatever its size: the books, their authors, their categories.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import languages, records, search
from bookstore.paging import Page, decode, encode
from bookstore.records import Book
from bookstore.tables import book_authors, book_categories, book_stock, books, categories

_TITLES, _PRICES, _YEARS = "ix_books_title", "ix_books_price", "ix_books_year"


class Sort(StrEnum):
    """The orders of a list; the minus sign means downwards."""

    RELEVANCE = "relevance"
    TITLE = "title"
    TITLE_DOWN = "-title"
    PRICE = "price"
    PRICE_DOWN = "-price"
    NEWEST = "-created_at"
    YEAR_DOWN = "-year"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which books, and in which order.  All conditions have to hold; None is no condition.

    `category` includes its subcategories, `language` its regional forms (`en` finds `en-US`).
    Without `sort` it is relevance for a question `q`, and the newest first for the rest;
    relevance without a question is the newest first too.
    """

    q: str | None = None
    category: str | None = None
    author: int | None = None
    language: str | None = None
    format: str | None = None
    min_price_cents: int | None = None
    max_price_cents: int | None = None
    in_stock: bool | None = None
    sort: Sort | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """How a list is sorted: first by `by`, then by id.  The cursor holds both values."""

    by: ColumnElement[Any]
    down: bool
    id_down: bool
    kinds: type | tuple[type, ...] = int
    #: The index that has the books in this order.
    index: str | None = None


async def find(
    conn: AsyncConnection, query: Query, *, cursor: str | None = None, limit: int = 20
) -> Page[Book]:
    """The books that are sold and meet the query.

    Raises:
        Invalid: the cursor is not one of a list sorted like this, or there is no such language.
    """
    order = _order(query.sort, _match(conn, query))
    found = matching(conn, query).add_columns(order.by.label("sorted_by"))
    if cursor is not None:
        found = found.where(_after(order, cursor))
    if order.index and _begins_far_down(query, cursor):
        # MariaDB would begin at the first book of all: it does not think that to begin further
        # down saves anything.
        found = found.with_hint(books, f"FORCE INDEX ({order.index})", "mysql")
    found = found.order_by(
        order.by.desc() if order.down else order.by,
        books.c.id.desc() if order.id_down else books.c.id,
    ).limit(limit + 1)
    rows = (await conn.execute(found)).all()
    more, rows = len(rows) > limit, rows[:limit]
    following = encode(rows[-1].sorted_by, rows[-1].id) if more else None
    return Page(await records.load(conn, rows), following)


def _begins_far_down(query: Query, cursor: str | None) -> bool:
    """Whether the index that a list is sorted by is the one to look into, and not at its begin.

    Where other conditions hold, another index may be better.
    """
    plain = Query(sort=query.sort)
    if query.sort in (Sort.PRICE, Sort.PRICE_DOWN):
        bounds = query.min_price_cents, query.max_price_cents
        query = replace(query, min_price_cents=None, max_price_cents=None)
        return query == plain and (cursor is not None or bounds != (None, None))
    return query == plain and cursor is not None


def matching(conn: AsyncConnection, query: Query) -> Select[Any]:
    """The rows of the books that are sold and meet the query, in no order.

    Raises:
        Invalid: there is no such language.
    """
    found = filtered(query).where(books.c.withdrawn_at.is_(None))
    match = _match(conn, query)
    return found if match is None else found.where(match.condition)


def _match(conn: AsyncConnection, query: Query) -> search.Match | None:
    question = (query.q or "").strip()
    if not question:
        return None
    # With other conditions too, or in another order, the best by their titles are not enough.
    alone = query == Query(q=query.q, sort=query.sort)
    best = alone and query.sort in (None, Sort.RELEVANCE)
    return search.matching(conn, question, best=best)


def filtered(query: Query) -> Select[Any]:
    """The rows of all books that meet the conditions but `q`, withdrawn ones too."""
    found = records.select_books()
    if query.category is not None:
        found = found.where(_in_category(query.category))
    if query.author is not None:
        written = select(book_authors.c.book_id).where(
            book_authors.c.author_id == _bounded(query.author)
        )
        found = found.where(books.c.id.in_(written))
    if query.language is not None:
        tag = languages.normal(query.language)
        found = found.where(or_(books.c.language == tag, books.c.language.startswith(f"{tag}-")))
    if query.format is not None:
        found = found.where(books.c.format == query.format)
    if query.min_price_cents is not None:
        found = found.where(books.c.price_cents >= _bounded(query.min_price_cents))
    if query.max_price_cents is not None:
        found = found.where(books.c.price_cents <= _bounded(query.max_price_cents))
    if query.in_stock is not None:
        found = found.where(book_stock.c.stock > 0 if query.in_stock else book_stock.c.stock == 0)
    return found


def _in_category(slug: str) -> ColumnElement[bool]:
    if not slug.isprintable():
        return false()
    tree = select(categories.c.id).where(categories.c.slug == slug).cte("tree", recursive=True)
    tree = tree.union(select(categories.c.id).join(tree, categories.c.parent_id == tree.c.id))
    shelved = select(book_categories.c.book_id).join(
        tree, tree.c.id == book_categories.c.category_id
    )
    return books.c.id.in_(shelved)


def _order(sort: Sort | None, found: search.Match | None) -> _Order:
    match sort:
        case Sort.TITLE:
            return _Order(books.c.sort_title, down=False, id_down=False, kinds=str, index=_TITLES)
        case Sort.TITLE_DOWN:
            return _Order(books.c.sort_title, down=True, id_down=True, kinds=str, index=_TITLES)
        case Sort.PRICE:
            return _Order(books.c.price_cents, down=False, id_down=False, index=_PRICES)
        case Sort.PRICE_DOWN:
            return _Order(books.c.price_cents, down=True, id_down=True, index=_PRICES)
        case Sort.YEAR_DOWN:
            kinds = (int, type(None))
            return _Order(books.c.year, down=True, id_down=True, kinds=kinds, index=_YEARS)
    if found is not None and sort is not Sort.NEWEST:
        return _Order(found.score, down=True, id_down=False)
    # Ids count up as books come in.  By `created_at` itself, deep pages were slow: all books
    # of an import have the same.
    return _Order(books.c.id, down=True, id_down=True)


def _after(order: _Order, cursor: str) -> ColumnElement[bool]:
    """What comes after the cursor's row: `a > x OR (a = x AND id > y)`.

    The `a >= x` in front says nothing new, but it is what SQLite looks up in its index.
    Books without a year come last: both databases sort NULL below all else.
    """
    value, book_id = decode(cursor, [order.kinds, int])
    beyond = books.c.id < _bounded(book_id) if order.id_down else books.c.id > _bounded(book_id)
    if order.by is books.c.id:
        return beyond
    if value is None:
        return and_(order.by.is_(None), beyond)
    value = _bounded(value) if isinstance(value, int) else value
    tied = and_(order.by == value, beyond)
    if not order.down:
        return and_(order.by >= value, or_(order.by > value, tied))
    further = and_(order.by <= value, or_(order.by < value, tied))
    return or_(further, order.by.is_(None)) if order.by is books.c.year else further


def _bounded(value: int) -> int:
    # SQLite cannot even be asked for more.
    return max(-records.LARGEST_ID, min(value, records.LARGEST_ID))
