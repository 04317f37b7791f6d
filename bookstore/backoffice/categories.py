"""The categories list of the back office: as a tree, or sorted by name or number of books."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import categories, search
from bookstore.catalogue.categories import Category
from bookstore.database import list_pagination
from bookstore.database.list_pagination import ListPage

AS_TREE = "tree"
SORTS = (AS_TREE, "name", "books")


@dataclass(frozen=True, slots=True)
class CategoryQuery:
    """A filter for categories: each word of `q` must be the prefix of a word of the name."""

    q: str = ""


async def find(
    conn: AsyncConnection, query: CategoryQuery, *, sort: str, cursor: str | None, limit: int
) -> ListPage[Category]:
    """The categories that match the query.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    return page_of_tree(await categories.tree(conn), query, sort=sort, cursor=cursor, limit=limit)


def page_of_tree(
    tree: list[Category], query: CategoryQuery, *, sort: str, cursor: str | None, limit: int
) -> ListPage[Category]:
    """Like `find`, for a tree that the caller has read."""
    chosen = _chosen(tree, query)
    name = sort.removeprefix("-")
    if name == "name":
        chosen.sort(key=lambda it: (search.normalize(it.name), it.slug))
    elif name == "books":
        chosen.sort(key=lambda it: (it.book_count, it.slug))
    if sort.startswith("-"):
        chosen.reverse()
    return list_pagination.paginate(chosen, lambda it: it.slug, cursor=cursor, limit=limit)


async def count(
    conn: AsyncConnection, query: CategoryQuery, up_to: int = list_pagination.MAX_COUNT
) -> int:
    """How many categories match the query, at most `up_to`."""
    return min(up_to, len(_chosen(await categories.tree(conn), query)))


def _chosen(tree: list[Category], query: CategoryQuery) -> list[Category]:
    words = search.normalize(query.q).split()
    return [
        it for it in tree if all(f" {word}" in f" {search.normalize(it.name)}" for word in words)
    ]
