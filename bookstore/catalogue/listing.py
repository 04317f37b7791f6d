"""Lists of books: filtered, sorted and cut into pages.

A page is three statements, whatever its size: the books, their authors, their categories.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    Table,
    and_,
    false,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import category_index, language_codes, models, search
from bookstore.catalogue.models import Book
from bookstore.database.pagination import LARGEST_ID, Page, decode, encode
from bookstore.database.tables import book_authors, book_categories, book_stock, books

#: A category with more of them below it has so large a part of all books that a list of it is
#: picked from the list of all.
_MOST_SHELVES = 100


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
    id: ColumnElement[int]
    down: bool
    id_down: bool
    kinds: type | tuple[type, ...] = int
    #: The index that has the books in this order.
    index: str | None = None

    def of(self, rows: Select[Any], cursor: str | None) -> Select[Any]:
        """These rows in this order, from where the cursor is."""
        if cursor is not None:
            rows = rows.where(_after(self, cursor))
        return rows.order_by(
            self.by.desc() if self.down else self.by, self.id.desc() if self.id_down else self.id
        )


async def find(
    conn: AsyncConnection, query: Query, *, cursor: str | None = None, limit: int = 20
) -> Page[Book]:
    """The books that are sold and meet the query.

    Raises:
        Invalid: the cursor is not one of a list sorted like this, or there is no such language.
    """
    match = _match(conn, query)
    order = _order(query.sort, match)
    category_ids = await shelves_of(conn, query)
    if category_ids is None:
        found = matching(conn, query)
        if order.index and _begins_far_down(query, cursor):
            # MariaDB would begin at the first book of all: it does not think that to begin
            # further down saves anything.
            found = found.with_hint(books, f"FORCE INDEX ({order.index})", "mysql")
        found = order.of(found, cursor)
    elif category_ids:
        first = _first(query, category_ids, cursor, limit + 1)
        found = order.of(models.select_books().where(books.c.id.in_(select(first.c.id))), None)
    else:
        found = models.select_books().where(false())
    found = found.add_columns(order.by.label("sorted_by")).limit(limit + 1)
    rows = (await conn.execute(found)).all()
    more, rows = len(rows) > limit, rows[:limit]
    following = encode(rows[-1].sorted_by, rows[-1].id) if more else None
    return Page(await models.load(conn, rows), following)


async def shelves_of(conn: AsyncConnection, query: Query) -> list[int] | None:
    """The categories, by id, from whose shelves the list can be read; None is the whole store."""
    if query.category is None or query.author is not None or (query.q or "").strip():
        return None
    if not query.category.isprintable():
        return []
    found = [row.id for row in await conn.execute(category_index.below(query.category))]
    return found if len(found) <= _MOST_SHELVES else None


def shelved(query: Query, category_ids: Sequence[int]) -> Select[Any]:
    """The places on these shelves of the books that are sold and meet the query."""
    return (
        select(book_categories.c.book_id.label("id"))
        .join(book_stock, book_stock.c.book_id == book_categories.c.book_id)
        .where(
            book_categories.c.category_id.in_(category_ids)
            if len(category_ids) > 1
            else book_categories.c.category_id == category_ids[0],
            book_categories.c.withdrawn_at.is_(None),
            *_conditions(query, book_categories),
        )
    )


def _first(query: Query, category_ids: Sequence[int], cursor: str | None, number: int) -> Subquery:
    """The ids of the first books of a list: the first of each shelf, for they are among them."""
    order = _order(query.sort, None, of=book_categories)
    each = []
    for category_id in category_ids:
        shelf = shelved(query, [category_id]).add_columns(order.by.label("sorted_by"))
        # Where a condition is on other columns too, MariaDB would rather read all and sort.
        shelf = shelf.with_hint(book_categories, f"FORCE INDEX ({order.index})", "mysql")
        each.append(select(order.of(shelf, cursor).limit(number).subquery()))
    places = union_all(*each).subquery()
    by, book_id = places.c.sorted_by, places.c.id
    return (
        # A book may stand on several of them.
        select(book_id, by)
        .distinct()
        .order_by(by.desc() if order.down else by, book_id.desc() if order.id_down else book_id)
        .limit(number)
        .subquery()
    )


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
    match = _match(conn, query)
    if match is None:
        return _sold(query)
    found = models.select_books() if match.within else _sold(query)
    return found.where(match.condition)


def _sold(query: Query) -> Select[Any]:
    return filtered(query).where(books.c.withdrawn_at.is_(None))


def _match(conn: AsyncConnection, query: Query) -> search.Match | None:
    question = (query.q or "").strip()
    if not question:
        return None
    # In another order the best by their titles are not enough.
    best = query.sort in (None, Sort.RELEVANCE)
    among = _sold(query).with_only_columns(books.c.id) if best else None
    return search.matching(conn, question, among=among)


def filtered(query: Query) -> Select[Any]:
    """The rows of all books that meet the conditions but `q`, withdrawn ones too."""
    found = models.select_books().where(*_conditions(query, books))
    if query.category is not None:
        found = found.where(_in_category(query.category))
    if query.author is not None:
        written = select(book_authors.c.book_id).where(
            book_authors.c.author_id == _bounded(query.author)
        )
        found = found.where(books.c.id.in_(written))
    return found


def _conditions(query: Query, of: Table) -> list[ColumnElement[bool]]:
    """What has to be so in the rows of books, or on their shelves, and of their stock."""
    found: list[ColumnElement[bool]] = []
    if query.language is not None:
        tag = language_codes.normal(query.language)
        found.append(or_(of.c.language == tag, of.c.language.startswith(f"{tag}-")))
    if query.format is not None:
        found.append(of.c.format == query.format)
    if query.min_price_cents is not None:
        found.append(of.c.price_cents >= _bounded(query.min_price_cents))
    if query.max_price_cents is not None:
        found.append(of.c.price_cents <= _bounded(query.max_price_cents))
    if query.in_stock is not None:
        found.append(book_stock.c.stock > 0 if query.in_stock else book_stock.c.stock == 0)
    return found


def _in_category(slug: str) -> ColumnElement[bool]:
    if not slug.isprintable():
        return false()
    tree = category_index.below(slug).subquery()
    shelved = select(book_categories.c.book_id).join(
        tree, tree.c.id == book_categories.c.category_id
    )
    return books.c.id.in_(shelved)


def _order(sort: Sort | None, found: search.Match | None, of: Table = books) -> _Order:
    """The order of a list of all books, or of one `of` a shelf."""
    book_id: ColumnElement[int] = books.c.id if of is books else of.c.book_id
    index = f"ix_{of.name}_"
    match sort:
        case Sort.TITLE | Sort.TITLE_DOWN:
            down = sort is Sort.TITLE_DOWN
            return _Order(of.c.sort_title, book_id, down, down, kinds=str, index=f"{index}title")
        case Sort.PRICE | Sort.PRICE_DOWN:
            down = sort is Sort.PRICE_DOWN
            return _Order(of.c.price_cents, book_id, down, down, index=f"{index}price")
        case Sort.YEAR_DOWN:
            kinds = (int, type(None))
            return _Order(of.c.year, book_id, True, True, kinds=kinds, index=f"{index}year")
    if found is not None and sort is not Sort.NEWEST:
        return _Order(found.score, book_id, down=True, id_down=False)
    # Ids count up as books come in.  By `created_at` itself, deep pages were slow: all books
    # of an import have the same.
    return _Order(book_id, book_id, down=True, id_down=True, index=f"{index}newest")


def _after(order: _Order, cursor: str) -> ColumnElement[bool]:
    """What comes after the cursor's row: `a > x OR (a = x AND id > y)`.

    The `a >= x` in front says nothing new, but it is what SQLite looks up in its index.
    Books without a year come last: both databases sort NULL below all else.
    """
    value, book_id = decode(cursor, [order.kinds, int])
    beyond = order.id < _bounded(book_id) if order.id_down else order.id > _bounded(book_id)
    if order.by is order.id:
        return beyond
    if value is None:
        return and_(order.by.is_(None), beyond)
    value = _bounded(value) if isinstance(value, int) else value
    tied = and_(order.by == value, beyond)
    if not order.down:
        return and_(order.by >= value, or_(order.by > value, tied))
    further = and_(order.by <= value, or_(order.by < value, tied))
    return or_(further, order.by.is_(None)) if isinstance(order.kinds, tuple) else further


def _bounded(value: int) -> int:
    # SQLite cannot even be asked for more.
    return max(-LARGEST_ID, min(value, LARGEST_ID))
