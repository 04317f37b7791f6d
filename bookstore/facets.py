"""How many books each further choice would leave: the numbers beside the filters of a list.

Counting stops early, because nobody compares 4,812 with 5,107: what is beyond `MOST` is said
to be more.  Each number keeps to every condition but the one that it would replace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Subquery, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import listing
from bookstore.listing import Query
from bookstore.tables import book_categories, book_stock, books, categories

#: A larger number is "more than that".
MOST = 1000
#: Books that are looked at; beyond, every number is a lower bound.
LOOKED_AT = 2000


class Count(NamedTuple):
    """So many books, and whether there may be more."""

    number: int
    more: bool


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


async def count(conn: AsyncConnection, query: Query) -> Facets:
    """The numbers for a list.

    Raises:
        Invalid: there is no such language.
    """
    here = await _groups(conn, query)

    async def without(field: str) -> list[Any]:
        if getattr(query, field) is None:
            return here
        return await _groups(conn, replace(query, **{field: None}))

    by_stock = await without("in_stock")
    return Facets(
        total=_count(here, _is_cut(here)),
        categories=await _by_category(
            conn, replace(query, category=None), _is_cut(await without("category"))
        ),
        languages=_by(await without("language"), "language"),
        formats=_by(await without("format"), "format"),
        in_stock=_count([row for row in by_stock if row.there], _is_cut(by_stock)),
    )


async def _groups(conn: AsyncConnection, query: Query) -> list[Any]:
    """How many books there are of each language, format, and in stock or not."""
    found = _candidates(conn, query)
    columns = (found.c.language, found.c.format, (found.c.stock > 0).label("there"))
    grouped = select(*columns, func.count().label("number")).group_by(*columns)
    return list((await conn.execute(grouped)).all())


async def _by_category(conn: AsyncConnection, query: Query, cut: bool) -> dict[str, Count]:
    found = _candidates(conn, query)
    tree = select(categories.c.id.label("top"), categories.c.id.label("id")).cte(
        "branches", recursive=True
    )
    tree = tree.union_all(
        select(tree.c.top, categories.c.id).join(tree, categories.c.parent_id == tree.c.id)
    )
    numbers = (
        select(categories.c.slug, func.count(found.c.id.distinct()).label("number"))
        .join_from(found, book_categories, book_categories.c.book_id == found.c.id)
        .join(tree, tree.c.id == book_categories.c.category_id)
        .join(categories, categories.c.id == tree.c.top)
        .group_by(categories.c.slug)
    )
    rows = (await conn.execute(numbers)).all()
    return {row.slug: _capped(row.number, cut) for row in rows}


def _candidates(conn: AsyncConnection, query: Query) -> Subquery:
    found = listing.matching(conn, query).with_only_columns(
        books.c.id, books.c.language, books.c.format, book_stock.c.stock
    )
    return found.limit(LOOKED_AT).subquery("found")


def _by(rows: list[Any], column: str) -> dict[str, Count]:
    values = {getattr(row, column) for row in rows} - {None}
    cut = _is_cut(rows)
    return {
        value: _count([row for row in rows if getattr(row, column) == value], cut)
        for value in values
    }


def _is_cut(rows: list[Any]) -> bool:
    return bool(sum(row.number for row in rows) == LOOKED_AT)


def _count(rows: list[Any], cut: bool) -> Count:
    return _capped(sum(row.number for row in rows), cut)


def _capped(number: int, cut: bool) -> Count:
    return Count(MOST, True) if number > MOST else Count(number, cut)
