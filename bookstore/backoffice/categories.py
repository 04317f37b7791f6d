"""Categories as staff list them: the tree, or one after the other by name or number of books."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import categories, search
from bookstore.catalogue.categories import Category
from bookstore.database import list_pagination
from bookstore.database.list_pagination import Slice

AS_TREE = "tree"
SORTS = (AS_TREE, "name", "books")


@dataclass(frozen=True, slots=True)
class Query:
    """Which categories: those in whose names all words of `q` begin a word."""

    q: str = ""


async def find(
    conn: AsyncConnection, query: Query, *, sort: str, cursor: str | None, limit: int
) -> Slice[Category]:
    """Categories that meet the query.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    return cut(await categories.tree(conn), query, sort=sort, cursor=cursor, limit=limit)


def cut(
    tree: list[Category], query: Query, *, sort: str, cursor: str | None, limit: int
) -> Slice[Category]:
    """The same, of a tree that was read before."""
    chosen = _chosen(tree, query)
    name = sort.removeprefix("-")
    if name == "name":
        chosen.sort(key=lambda it: (search.normal(it.name), it.slug))
    elif name == "books":
        chosen.sort(key=lambda it: (it.book_count, it.slug))
    if sort.startswith("-"):
        chosen.reverse()
    return list_pagination.part(chosen, lambda it: it.slug, cursor=cursor, limit=limit)


async def count(conn: AsyncConnection, query: Query, most: int = list_pagination.COUNTED) -> int:
    """How many categories meet the query, up to `most`."""
    return min(most, len(_chosen(await categories.tree(conn), query)))


def _chosen(tree: list[Category], query: Query) -> list[Category]:
    words = search.normal(query.q).split()
    return [it for it in tree if all(f" {word}" in f" {search.normal(it.name)}" for word in words)]
