"""Facet counts: the number of books beside each filter option of a list.

Counting stops early, because customers do not compare 4,812 with 5,107: a count beyond `MAX_COUNT`
is shown as "more than".  The counts of a filter ignore the current value of that filter and apply
all others, so that they show what another choice would find.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import category_index, listing
from bookstore.catalogue.listing import BookQuery
from bookstore.database.statements import BulkQuery
from bookstore.database.tables import book_categories, book_stock, books

#: Larger counts are shown as "more than" this.
MAX_COUNT = 1000
#: The number of matching books that are read.  If there are more, every count is a lower bound.
MAX_SCANNED = 2000

_CATEGORIES_OF_BOOKS = BulkQuery(
    "book_id BIGINT",
    "c.category_id, c.book_id",
    "FROM {rows} AS v {join} book_categories AS c ON c.book_id = v.book_id",
)


class LanguageCount(NamedTuple):
    """A language (BCP 47) and the number of books on sale in it."""

    tag: str
    book_count: int


class Count(NamedTuple):
    """A number of books, and whether there may be more."""

    number: int
    more: bool


class _Candidate(NamedTuple):
    """A matching book that is counted."""

    id: int
    language: str | None
    format: str | None
    in_stock: bool


@dataclass(frozen=True, slots=True)
class Facets:
    """The counts of all filters.  Options that match no book are missing."""

    total: Count
    #: By slug; a category includes the books of its subcategories.
    categories: Mapping[str, Count]
    #: By the language of the books (BCP 47), and by format.
    languages: Mapping[str, Count]
    formats: Mapping[str, Count]
    in_stock: Count


#: Counts the books of one list as `count_matches` does, for example with a cache.
FacetCounter = Callable[[AsyncConnection, BookQuery], Awaitable[Facets]]


async def count_matches(conn: AsyncConnection, query: BookQuery) -> Facets:
    """The counts for exactly the books of a list, with all filters applied.

    `categories` is empty if the query has a category.

    Raises:
        Invalid: there is no such language.
    """
    found = await _candidates(conn, query)
    return Facets(
        total=_count(found, len(found)),
        categories={} if query.category else await _group_by_category(conn, found),
        languages=_group_by(found, lambda it: it.language),
        formats=_group_by(found, lambda it: it.format),
        in_stock=_count(found, sum(it.in_stock for it in found)),
    )


async def count(
    conn: AsyncConnection, query: BookQuery, counter: FacetCounter = count_matches
) -> Facets:
    """The facet counts for a list.

    Each filter is counted by `counter` for the query without that filter.  Pass a cached `counter`
    to avoid counting the same query again.

    Raises:
        Invalid: there is no such language.
    """
    filtered = await counter(conn, query)

    async def without(field: str) -> Facets:
        if getattr(query, field) is None:
            return filtered
        return await counter(conn, replace(query, **{field: None}))

    return Facets(
        total=filtered.total,
        categories=(await without("category")).categories,
        languages=(await without("language")).languages,
        formats=(await without("format")).formats,
        in_stock=(await without("in_stock")).in_stock,
    )


async def _candidates(conn: AsyncConnection, query: BookQuery) -> list[_Candidate]:
    """The matching books, at most `MAX_SCANNED`.

    They are read as one JSON value, because the database driver is slower at many small rows.
    """
    category_ids = await listing.indexed_category_ids(conn, query)
    in_stock = book_stock.c.stock > 0
    if category_ids is None:
        found = listing.matching(conn, query).with_only_columns(
            books.c.id, books.c.language, books.c.format, in_stock.label("in_stock")
        )
    elif category_ids:
        columns = book_categories.c
        found = listing.in_categories(query, category_ids).distinct()
        found = found.add_columns(columns.language, columns.format, in_stock.label("in_stock"))
    else:
        return []
    scanned = found.limit(MAX_SCANNED).subquery()
    aggregate = func.json_group_array if conn.dialect.name == "sqlite" else func.json_arrayagg
    row_array = func.json_array(
        scanned.c.id, scanned.c.language, scanned.c.format, scanned.c.in_stock
    )
    rows_json = await conn.scalar(select(aggregate(row_array)))
    # MariaDB returns NULL if there are no rows.
    return [_Candidate(*row) for row in json.loads(rows_json or "[]")]


async def _group_by_category(conn: AsyncConnection, found: list[_Candidate]) -> dict[str, Count]:
    direct: dict[int, set[int]] = {}
    for category_id, book_id in await _CATEGORIES_OF_BOOKS(conn, [(it.id,) for it in found]):
        direct.setdefault(category_id, set()).add(book_id)
    parents, slugs = await category_index.load_ancestors(conn, direct)
    in_subtree: dict[int, set[int]] = {}
    for category_id, book_ids in direct.items():
        for it in category_index.ancestors(category_id, parents):
            in_subtree.setdefault(it, set()).update(book_ids)
    return {slugs[it]: _count(found, len(book_ids)) for it, book_ids in in_subtree.items()}


def _group_by(
    found: list[_Candidate], choice: Callable[[_Candidate], str | None]
) -> dict[str, Count]:
    numbers = Counter(map(choice, found))
    return {it: _count(found, number) for it, number in numbers.items() if it is not None}


def _count(found: list[_Candidate], number: int) -> Count:
    """The count for this number of candidates.

    There may be more if `MAX_SCANNED` cut off the candidates.
    """
    return (
        Count(MAX_COUNT, True) if number > MAX_COUNT else Count(number, len(found) == MAX_SCANNED)
    )


async def languages(conn: AsyncConnection) -> list[LanguageCount]:
    """The languages of the books on sale, the most common first."""
    found = await conn.execute(
        select(books.c.language, func.count().label("book_count"))
        .where(books.c.withdrawn_at.is_(None), books.c.language.is_not(None))
        .group_by(books.c.language)
        .order_by(func.count().desc(), books.c.language)
    )
    return [LanguageCount(row.language, row.book_count) for row in found]
