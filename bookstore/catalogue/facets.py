"""How many books each further choice would leave: the numbers beside the filters of a list.

Counting stops early, because nobody compares 4,812 with 5,107: what is beyond `MOST` is said
to be more.  Each number keeps to every condition but the one that it would replace.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import category_index, listing
from bookstore.catalogue.listing import Query
from bookstore.database.statements import BulkQuery
from bookstore.database.tables import book_categories, book_stock, books

#: A larger number is "more than that".
MOST = 1000
#: Books that are looked at; beyond, every number is a lower bound.
LOOKED_AT = 2000

_PLACES = BulkQuery(
    "book_id BIGINT",
    "c.category_id, c.book_id",
    "FROM {rows} AS v {join} book_categories AS c ON c.book_id = v.book_id",
)


class Count(NamedTuple):
    """So many books, and whether there may be more."""

    number: int
    more: bool


class _Candidate(NamedTuple):
    """A book that is counted; `there` is whether it is in stock."""

    id: int
    language: str | None
    format: str | None
    there: bool


@dataclass(frozen=True, slots=True)
class Facets:
    """The numbers beside the choices; what is not there would leave no book."""

    total: Count
    #: By slug; a category has its subcategories' books too.
    categories: Mapping[str, Count]
    #: By language as the books have it (BCP 47), and by format.
    languages: Mapping[str, Count]
    formats: Mapping[str, Count]
    in_stock: Count


#: The same of one list: what it is narrowed to hides the other choices.
Tally = Callable[[AsyncConnection, Query], Awaitable[Facets]]


async def tally(conn: AsyncConnection, query: Query) -> Facets:
    """The numbers of the books in a list; without categories where it is that of one.

    Raises:
        Invalid: there is no such language.
    """
    found = await _candidates(conn, query)
    return Facets(
        total=_count(found, len(found)),
        categories={} if query.category else await _by_category(conn, found),
        languages=_by(found, lambda it: it.language),
        formats=_by(found, lambda it: it.format),
        in_stock=_count(found, sum(it.there for it in found)),
    )


async def count(conn: AsyncConnection, query: Query, tally: Tally = tally) -> Facets:
    """The numbers for a list; `tally` may remember what it was asked.

    Raises:
        Invalid: there is no such language.
    """
    here = await tally(conn, query)

    async def without(field: str) -> Facets:
        if getattr(query, field) is None:
            return here
        return await tally(conn, replace(query, **{field: None}))

    return Facets(
        total=here.total,
        categories=(await without("category")).categories,
        languages=(await without("language")).languages,
        formats=(await without("format")).formats,
        in_stock=(await without("in_stock")).in_stock,
    )


async def _candidates(conn: AsyncConnection, query: Query) -> list[_Candidate]:
    """The books that are looked at, in one piece, because a row costs the driver more."""
    category_ids = await listing.shelves_of(conn, query)
    there = book_stock.c.stock > 0
    if category_ids is None:
        found = listing.matching(conn, query).with_only_columns(
            books.c.id, books.c.language, books.c.format, there.label("there")
        )
    elif category_ids:
        place = book_categories.c
        found = listing.shelved(query, category_ids).distinct()
        found = found.add_columns(place.language, place.format, there.label("there"))
    else:
        return []
    few = found.limit(LOOKED_AT).subquery()
    gather = func.json_group_array if conn.dialect.name == "sqlite" else func.json_arrayagg
    answer = await conn.scalar(
        select(gather(func.json_array(few.c.id, few.c.language, few.c.format, few.c.there)))
    )
    # Without any row MariaDB answers NULL.
    return [_Candidate(*row) for row in json.loads(answer or "[]")]


async def _by_category(conn: AsyncConnection, found: list[_Candidate]) -> dict[str, Count]:
    on_shelf: dict[int, set[int]] = {}
    for category_id, book_id in await _PLACES(conn, [(it.id,) for it in found]):
        on_shelf.setdefault(category_id, set()).add(book_id)
    parents, slugs = await category_index.above(conn, on_shelf)
    within: dict[int, set[int]] = {}
    for category_id, book_ids in on_shelf.items():
        for it in category_index.upwards(category_id, parents):
            within.setdefault(it, set()).update(book_ids)
    return {slugs[it]: _count(found, len(book_ids)) for it, book_ids in within.items()}


def _by(found: list[_Candidate], choice: Callable[[_Candidate], str | None]) -> dict[str, Count]:
    numbers = Counter(map(choice, found))
    return {it: _count(found, number) for it, number in numbers.items() if it is not None}


def _count(found: list[_Candidate], number: int) -> Count:
    """So many of the candidates; where more books were not looked at, there may be more."""
    return Count(MOST, True) if number > MOST else Count(number, len(found) == LOOKED_AT)
