"""Lists of books: filtered, sorted and paginated.

A page takes three statements, whatever its size: the books, their authors, their categories.
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

#: A category with more subcategories contains a large part of all books.  Filtering the list of all
#: books is then faster than merging the lists of so many categories.
_MAX_CATEGORIES = 100


class Sort(StrEnum):
    """The sort orders of a list; a minus sign means descending."""

    RELEVANCE = "relevance"
    TITLE = "title"
    TITLE_DESC = "-title"
    PRICE = "price"
    PRICE_DESC = "-price"
    NEWEST = "-created_at"
    YEAR_DESC = "-year"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookQuery:
    """Filters and sort order of a list.  A book must meet all filters; None is no filter.

    `category` includes its subcategories, `language` its regional variants (`en` finds `en-US`).
    If `sort` is None, a list with search text `q` is sorted by relevance and any other list by
    newest first.  Relevance without `q` is also newest first.
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
class _SortOrder:
    """A sort order: first by `by`, then by id.  The cursor holds the values of both."""

    by: ColumnElement[Any]
    id: ColumnElement[int]
    descending: bool
    id_descending: bool
    value_types: type | tuple[type, ...] = int
    #: The index that has the books in this order.
    index: str | None = None

    def apply(self, rows: Select[Any], cursor: str | None) -> Select[Any]:
        """These rows in this order, starting after the cursor; None starts at the beginning."""
        if cursor is not None:
            rows = rows.where(_after(self, cursor))
        return rows.order_by(
            self.by.desc() if self.descending else self.by,
            self.id.desc() if self.id_descending else self.id,
        )


async def find(
    conn: AsyncConnection, query: BookQuery, *, cursor: str | None = None, limit: int = 20
) -> Page[Book]:
    """A page of the books that are on sale and match the query.

    Raises:
        Invalid: the cursor is not from a list with this sort order, or there is no such language.
    """
    match = _match(conn, query)
    order = _order(query.sort, match)
    category_ids = await indexed_category_ids(conn, query)
    if category_ids is None:
        found = matching(conn, query)
        if order.index and _should_force_index(query, cursor):
            # Without this, MariaDB scans the index from its beginning: its optimizer does not
            # recognise that it can start at the cursor.
            found = found.with_hint(books, f"FORCE INDEX ({order.index})", "mysql")
        found = order.apply(found, cursor)
    elif category_ids:
        first = _first_ids(query, category_ids, cursor, limit + 1)
        found = order.apply(models.select_books().where(books.c.id.in_(select(first.c.id))), None)
    else:
        found = models.select_books().where(false())
    found = found.add_columns(order.by.label("sorted_by")).limit(limit + 1)
    rows = (await conn.execute(found)).all()
    more, rows = len(rows) > limit, rows[:limit]
    following = encode(rows[-1].sorted_by, rows[-1].id) if more else None
    return Page(await models.load(conn, rows), following)


async def indexed_category_ids(conn: AsyncConnection, query: BookQuery) -> list[int] | None:
    """The ids of the categories whose indexes the list can be read from.

    None means that the list has to be read from the index of all books.  An empty list means that
    the query's category does not exist.
    """
    if query.category is None or query.author is not None or (query.q or "").strip():
        return None
    if not query.category.isprintable():
        return []
    found = [row.id for row in await conn.execute(category_index.subtree_ids(query.category))]
    return found if len(found) <= _MAX_CATEGORIES else None


def in_categories(query: BookQuery, category_ids: Sequence[int]) -> Select[Any]:
    """The ids of the books in these categories that are on sale and match the query.

    A book in several of the categories occurs several times.
    """
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


def _first_ids(
    query: BookQuery, category_ids: Sequence[int], cursor: str | None, number: int
) -> Subquery:
    """The ids of the first `number` books of a list after the cursor.

    Merges the first `number` books of each category, which include the first of the whole list.
    """
    order = _order(query.sort, None, of=book_categories)
    per_category = []
    for category_id in category_ids:
        rows = in_categories(query, [category_id]).add_columns(order.by.label("sorted_by"))
        # With filters on other columns, MariaDB would otherwise read all rows and sort them.
        rows = rows.with_hint(book_categories, f"FORCE INDEX ({order.index})", "mysql")
        per_category.append(select(order.apply(rows, cursor).limit(number).subquery()))
    merged = union_all(*per_category).subquery()
    by, book_id = merged.c.sorted_by, merged.c.id
    return (
        # DISTINCT because a book may be in several of the categories.
        select(book_id, by)
        .distinct()
        .order_by(
            by.desc() if order.descending else by,
            book_id.desc() if order.id_descending else book_id,
        )
        .limit(number)
        .subquery()
    )


def _should_force_index(query: BookQuery, cursor: str | None) -> bool:
    """Whether to force the index of the sort order: the list starts in the middle of that index.

    False if the query has other filters, because another index may then be better.
    """
    plain = BookQuery(sort=query.sort)
    if query.sort in (Sort.PRICE, Sort.PRICE_DESC):
        bounds = query.min_price_cents, query.max_price_cents
        query = replace(query, min_price_cents=None, max_price_cents=None)
        return query == plain and (cursor is not None or bounds != (None, None))
    return query == plain and cursor is not None


def matching(conn: AsyncConnection, query: BookQuery) -> Select[Any]:
    """A query for the rows of the books that are on sale and match the query, in no order.

    Raises:
        Invalid: there is no such language.
    """
    match = _match(conn, query)
    if match is None:
        return _on_sale(query)
    found = models.select_books() if match.within else _on_sale(query)
    return found.where(match.condition)


def _on_sale(query: BookQuery) -> Select[Any]:
    return filtered(query).where(books.c.withdrawn_at.is_(None))


def _match(conn: AsyncConnection, query: BookQuery) -> search.Match | None:
    query_text = (query.q or "").strip()
    if not query_text:
        return None
    # Only a list sorted by relevance can be limited to the best matches.
    by_relevance = query.sort in (None, Sort.RELEVANCE)
    among = _on_sale(query).with_only_columns(books.c.id) if by_relevance else None
    return search.matching(conn, query_text, among=among)


def filtered(query: BookQuery) -> Select[Any]:
    """A query for all books that match the filters except `q`, including withdrawn books."""
    found = models.select_books().where(*_conditions(query, books))
    if query.category is not None:
        found = found.where(_in_subtree(query.category))
    if query.author is not None:
        book_ids = select(book_authors.c.book_id).where(
            book_authors.c.author_id == _clamp_integer(query.author)
        )
        found = found.where(books.c.id.in_(book_ids))
    return found


def _conditions(query: BookQuery, of: Table) -> list[ColumnElement[bool]]:
    """The filter conditions on `of`, which is `books` or `book_categories`, and on `book_stock`."""
    conditions: list[ColumnElement[bool]] = []
    if query.language is not None:
        tag = language_codes.normalize(query.language)
        conditions.append(or_(of.c.language == tag, of.c.language.startswith(f"{tag}-")))
    if query.format is not None:
        conditions.append(of.c.format == query.format)
    if query.min_price_cents is not None:
        conditions.append(of.c.price_cents >= _clamp_integer(query.min_price_cents))
    if query.max_price_cents is not None:
        conditions.append(of.c.price_cents <= _clamp_integer(query.max_price_cents))
    if query.in_stock is not None:
        conditions.append(book_stock.c.stock > 0 if query.in_stock else book_stock.c.stock == 0)
    return conditions


def _in_subtree(slug: str) -> ColumnElement[bool]:
    if not slug.isprintable():
        return false()
    tree = category_index.subtree_ids(slug).subquery()
    book_ids = select(book_categories.c.book_id).join(
        tree, tree.c.id == book_categories.c.category_id
    )
    return books.c.id.in_(book_ids)


def _order(sort: Sort | None, match: search.Match | None, of: Table = books) -> _SortOrder:
    """The sort order of a list that is read from `of`: `books` or `book_categories`."""
    book_id: ColumnElement[int] = books.c.id if of is books else of.c.book_id
    index = f"ix_{of.name}_"
    match sort:
        case Sort.TITLE | Sort.TITLE_DESC:
            down = sort is Sort.TITLE_DESC
            return _SortOrder(
                of.c.sort_title, book_id, down, down, value_types=str, index=f"{index}title"
            )
        case Sort.PRICE | Sort.PRICE_DESC:
            down = sort is Sort.PRICE_DESC
            return _SortOrder(of.c.price_cents, book_id, down, down, index=f"{index}price")
        case Sort.YEAR_DESC:
            types = (int, type(None))
            return _SortOrder(
                of.c.year, book_id, True, True, value_types=types, index=f"{index}year"
            )
    if match is not None and sort is not Sort.NEWEST:
        return _SortOrder(match.score, book_id, descending=True, id_descending=False)
    # Sorted by id, which increases as books are created.  Sorting by `created_at` made deep pages
    # slow, because all books of an import have the same value.
    return _SortOrder(book_id, book_id, descending=True, id_descending=True, index=f"{index}newest")


def _after(order: _SortOrder, cursor: str) -> ColumnElement[bool]:
    """The condition for the rows after the cursor: `a > x OR (a = x AND id > y)`.

    The additional `a >= x` is redundant, but SQLite needs it to use the index.
    Books without a year come last in descending order: both databases sort NULL below all values.
    """
    value, book_id = decode(cursor, [order.value_types, int])
    id_after = (
        order.id < _clamp_integer(book_id)
        if order.id_descending
        else order.id > _clamp_integer(book_id)
    )
    if order.by is order.id:
        return id_after
    if value is None:
        return and_(order.by.is_(None), id_after)
    value = _clamp_integer(value) if isinstance(value, int) else value
    tied = and_(order.by == value, id_after)
    if not order.descending:
        return and_(order.by >= value, or_(order.by > value, tied))
    after = and_(order.by <= value, or_(order.by < value, tied))
    return or_(after, order.by.is_(None)) if isinstance(order.value_types, tuple) else after


def _clamp_integer(value: int) -> int:
    # The SQLite driver raises an error for larger integers.
    return max(-LARGEST_ID, min(value, LARGEST_ID))
