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
    false,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import category_index, language_codes, models, search
from bookstore.catalogue.models import Book
from bookstore.database.pagination import LARGEST_ID, Page, SortOrder, select_page
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


#: The ends of the names of the indexes on `books` and `book_categories` that have the books in
#: these orders; in any other order, they are read from the index for `NEWEST`.
_INDEXES: dict[Sort | None, str] = {
    Sort.TITLE: "title",
    Sort.TITLE_DESC: "title",
    Sort.PRICE: "price",
    Sort.PRICE_DESC: "price",
    Sort.YEAR_DESC: "year",
}


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
        if _should_force_index(query, cursor):
            # Without this, MariaDB scans the index from its beginning: its optimizer does not
            # recognise that it can start at the cursor.
            found = _force_index(found, query.sort, books)
    elif category_ids:
        first = _first_ids(query, category_ids, cursor, limit + 1)
        found, cursor = models.select_books().where(books.c.id.in_(select(first.c.id))), None
    else:
        found = models.select_books().where(false())
    page = await select_page(conn, found, order, cursor=cursor, limit=limit)
    return page.with_items(await models.load(conn, page.items))


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
    by = order.columns[0]
    per_category = []
    for category_id in category_ids:
        rows = in_categories(query, [category_id]).add_columns(by.label("sorted_by"))
        # With filters on other columns, MariaDB would otherwise read all rows and sort them.
        rows = _force_index(rows, query.sort, book_categories)
        per_category.append(select(order.apply(rows, cursor).limit(number).subquery()))
    merged = union_all(*per_category).subquery()
    merged_order = SortOrder((merged.c.sorted_by, merged.c.id), order.descending)
    # DISTINCT because a book may be in several of the categories.
    first = select(merged.c.id, merged.c.sorted_by).distinct()
    return merged_order.apply(first, None).limit(number).subquery()


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


def _order(sort: Sort | None, match: search.Match | None, of: Table = books) -> SortOrder:
    """The sort order of a list that is read from `of`: `books` or `book_categories`."""
    book_id: ColumnElement[int] = books.c.id if of is books else of.c.book_id
    match sort:
        case Sort.TITLE | Sort.TITLE_DESC:
            return SortOrder((of.c.sort_title, book_id), descending=sort is Sort.TITLE_DESC)
        case Sort.PRICE | Sort.PRICE_DESC:
            return SortOrder((of.c.price_cents, book_id), descending=sort is Sort.PRICE_DESC)
        case Sort.YEAR_DESC:
            return SortOrder((of.c.year, book_id), descending=True)
    if match is not None and sort is not Sort.NEWEST:
        # The best score first, and among equal scores the oldest book.
        return SortOrder((-match.score, book_id))
    # Sorted by id, which increases as books are created.  Sorting by `created_at` made deep pages
    # slow, because all books of an import have the same value.
    return SortOrder((book_id,), descending=True)


def _force_index(rows: Select[Any], sort: Sort | None, of: Table) -> Select[Any]:
    """The rows, which MariaDB reads from the index that has them in this order."""
    name = _INDEXES.get(sort, "newest")
    return rows.with_hint(of, f"FORCE INDEX (ix_{of.name}_{name})", "mysql")


def _clamp_integer(value: int) -> int:
    # The SQLite driver raises an error for larger integers.
    return max(-LARGEST_ID, min(value, LARGEST_ID))
