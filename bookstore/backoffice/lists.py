"""The lists of the back office: which rows a list has, how they are sorted, filtered and exported.

A list is described once, by a `List`: `orders.ORDERS`, `authors.AUTHORS`, ...  The dashboard shows
it (`admin/lists.py`) and `list_exports` writes all of its rows to a file.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import pagination
from bookstore.database.pagination import MAX_COUNT, Page
from bookstore.exports import Cell
from bookstore.users.permissions import Permission

Q = TypeVar("Q")
T = TypeVar("T")
#: A filter of a query: the column, how it is compared, and the value; None means no filter.
ColumnFilter = tuple[ColumnElement[Any], Callable[[Any, Any], ColumnElement[bool]], object]

#: Each list by its name.
LISTS: dict[str, "List[Any, Any]"] = {}


async def _unchanged(conn: AsyncConnection, rows: Sequence[Any]) -> list[Any]:
    return [*rows]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class List(Generic[Q, T]):
    """A list of the database.

    `select` takes a query and returns a statement without ORDER BY and LIMIT for all rows that
    match.  `load` builds the items from the rows of a page; without it, the rows are the items.
    `id` is the column that identifies a row, `sorts` has the columns by which the list can be
    sorted; a minus sign means descending.
    """

    #: Stored in export jobs and in the audit log, and the name of an exported file.
    name: str
    query: type[Q]
    select: Callable[[AsyncConnection, Q], Awaitable[Any]]
    load: Callable[[AsyncConnection, Sequence[Any]], Awaitable[list[T]]] = _unchanged
    id: Any
    sorts: Mapping[str, Any]
    default_sort: str
    #: The columns of an exported file, each with an attribute of the items, or a function of the
    #: item and the store's currency.  A list without columns cannot be exported.
    columns: Mapping[str, str | Callable[[Any, str], Cell]]
    export_permission: Permission

    def __post_init__(self) -> None:
        LISTS[self.name] = self

    async def find(
        self,
        conn: AsyncConnection,
        query: Q | None = None,
        *,
        sort: str | None = None,
        cursor: str | None = None,
        limit: int = 25,
    ) -> Page[T]:
        """A page of the items that match the query, or of all.

        Raises:
            Invalid: the cursor does not belong to this list.
        """
        selected = await self.select(conn, self.query() if query is None else query)
        return await self.page(
            conn, selected, sort=sort or self.default_sort, cursor=cursor, limit=limit
        )

    async def page(
        self, conn: AsyncConnection, selected: Any, *, sort: str, cursor: str | None, limit: int
    ) -> Page[T]:
        """A page of what `select` returned.

        Raises:
            Invalid: the cursor does not belong to this list.
        """
        by = pagination.order(sort, self.sorts, self.id, self.default_sort)
        found = await pagination.select_page(conn, selected, by, cursor=cursor, limit=limit)
        return found.with_items(await self.load(conn, found.items) if found.items else [])

    async def count(self, conn: AsyncConnection, selected: Any, up_to: int = MAX_COUNT) -> int:
        """How many rows `select` found, at most `up_to`."""
        return await pagination.count(conn, self.ids(selected), up_to)

    def ids(self, selected: Select[Any]) -> Select[tuple[int]]:
        """A query for the ids of all rows that `select` found."""
        return selected.with_only_columns(self.id, maintain_column_froms=True)

    def cells(self, item: T, currency: str) -> list[Cell]:
        """The row of an item in an exported file."""
        return [
            _cell(value(item, currency) if callable(value) else attrgetter(value)(item))
            for value in self.columns.values()
        ]


class Chosen(NamedTuple, Generic[T]):
    """What `select` of a list in memory returns: the items that match, and all items."""

    items: Sequence[T]
    all: Sequence[T]


class MemoryList(List[Q, T]):
    """A list that is short enough to be read as a whole.

    `select` returns `Chosen`, `load` is not used.  `id` is a function that returns the key of an
    item.  `sorts` has the type of a sort key with its function; None keeps the order of the items.
    """

    async def page(
        self,
        conn: AsyncConnection,
        selected: Chosen[T],
        *,
        sort: str,
        cursor: str | None,
        limit: int,
    ) -> Page[T]:
        kind, key = self.sorts[sort.removeprefix("-")]
        places = {self.id(item): place for place, item in enumerate(selected.all)}

        def sort_key(item: T) -> tuple[int | str, str]:
            return key(item) if key else places[self.id(item)], self.id(item)

        descending = sort.startswith("-")
        return pagination.paginate(
            selected.items, sort_key, (kind, str), cursor=cursor, limit=limit, descending=descending
        )

    async def count(
        self, conn: AsyncConnection, selected: Chosen[T], up_to: int = MAX_COUNT
    ) -> int:
        return min(up_to, len(selected.items))


def where(statement: Select[Any], *filters: ColumnFilter) -> Select[Any]:
    """The statement with a condition for each filter whose value is not None."""
    return statement.where(
        *(compare(column, value) for column, compare, value in filters if value is not None)
    )


def attributes(*names: str) -> dict[str, str]:
    """Columns of an exported file that are named like the attributes of the items."""
    return dict(zip(names, names, strict=True))


def each(
    build: Callable[[Any], T],
) -> Callable[[AsyncConnection, Sequence[Any]], Awaitable[list[T]]]:
    """A `load` that builds each item from its row."""

    async def load(conn: AsyncConnection, rows: Sequence[Any]) -> list[T]:
        return [build(row) for row in rows]

    return load


def by_ids(
    find: Callable[[AsyncConnection, list[int]], Awaitable[dict[int, T]]],
) -> Callable[[AsyncConnection, Sequence[Any]], Awaitable[list[T]]]:
    """A `load` that finds the items by the ids of their rows."""

    async def load(conn: AsyncConnection, rows: Sequence[Any]) -> list[T]:
        ids = [row.id for row in rows]
        return pagination.in_order(ids, await find(conn, ids))

    return load


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # The text of an enumeration, without its type.
    return str(value) if isinstance(value, str) else value
