"""The categories list of the back office: as a tree, or sorted by name or number of books."""

from dataclasses import dataclass
from operator import attrgetter

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.backoffice import lists
from bookstore.backoffice.lists import Chosen, MemoryList
from bookstore.catalogue import categories, search
from bookstore.catalogue.categories import Category
from bookstore.users.permissions import Permission


@dataclass(frozen=True, slots=True)
class CategoryQuery:
    """A filter for categories: each word of `q` must be the prefix of a word of the name."""

    q: str = ""


async def _select(conn: AsyncConnection, query: CategoryQuery) -> Chosen[Category]:
    tree, words = await categories.tree(conn), search.normalize(query.q).split()
    names = [f" {search.normalize(it.name)}" for it in tree]
    found = [
        it
        for it, name in zip(tree, names, strict=True)
        if all(f" {word}" in name for word in words)
    ]
    return Chosen(found, tree)


CATEGORIES: MemoryList[CategoryQuery, Category] = MemoryList(
    name="categories",
    query=CategoryQuery,
    select=_select,
    id=attrgetter("slug"),
    sorts={
        "tree": (int, None),
        "name": (str, lambda it: search.normalize(it.name)),
        "books": (int, attrgetter("book_count")),
    },
    default_sort="tree",
    columns={**lists.attributes("slug", "name", "parent", "depth"), "books": "book_count"},
    export_permission=Permission.EXPORT_BOOKS,
)
