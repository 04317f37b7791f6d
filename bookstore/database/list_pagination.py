"""Keyset pagination for the back office: sortable lists with next and previous pages.

A page begins after (or ends before) one row.  The cursor names that row by its value in the sort
column and its id, so a late page costs as much as the first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.pagination import LARGEST_ID, decode, encode
from bookstore.errors import Invalid

T = TypeVar("T")
U = TypeVar("U")

#: Counting stops at this number of rows: exact numbers above it are of no use to staff, and
#: counting a large table is slow.
MAX_COUNT = 1000
_AFTER, _BEFORE = "after", "before"
#: The character that both databases sort last.
_LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class ListPage(Generic[T]):
    """One page of a list, with the cursors of its neighbours; None at the ends of the list."""

    items: list[T]
    next: str | None = None
    previous: str | None = None

    def with_items(self, items: list[U]) -> "ListPage[U]":
        """This page with other items, usually the objects built from its rows."""
        return ListPage(items, self.next, self.previous)


@dataclass(frozen=True, slots=True)
class SortOrder:
    """How a list is sorted: by the column `by`, then by `id`, both in the same direction.

    `kinds` are the types of the values of `by`.  NULL sorts below every other value.
    """

    by: ColumnElement[Any]
    id: ColumnElement[int]
    descending: bool = False
    kinds: type | tuple[type, ...] = int

    def reversed(self) -> "SortOrder":
        return replace(self, descending=not self.descending)


def order(
    sort: str, columns: Mapping[str, ColumnElement[Any]], row_id: ColumnElement[int], default: str
) -> SortOrder:
    """The order for a `sort` such as `-total`: descending by the column `total`.

    `default` replaces an unknown name.  A cursor of this order may hold a number, text or NULL;
    text is accepted only for columns that hold text.
    """
    name = sort.removeprefix("-")
    if name not in columns:
        sort, name = default, default.removeprefix("-")
    kinds = (int, str, type(None))
    return SortOrder(columns[name], row_id, descending=sort.startswith("-"), kinds=kinds)


async def select_page(
    conn: AsyncConnection, query: Select[Any], by: SortOrder, *, cursor: str | None, limit: int
) -> ListPage[Any]:
    """The rows of one page; the query has neither ORDER BY nor LIMIT.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    backwards = False
    if cursor is not None:
        direction, value, row_id = decode(cursor, [str, by.kinds, int])
        if direction not in (_AFTER, _BEFORE) or not _has_column_type(by, value):
            raise Invalid("cursor", "This cursor does not belong to this list.")
        backwards = direction == _BEFORE
        query = query.where(_after_row(by.reversed() if backwards else by, value, row_id))
    scan = by.reversed() if backwards else by
    query = query.add_columns(by.by.label("_sorted_by"), by.id.label("_row_id"))
    query = query.order_by(
        scan.by.desc() if scan.descending else scan.by,
        scan.id.desc() if scan.descending else scan.id,
    )
    rows = list(await conn.execute(query.limit(limit + 1)))
    more, rows = len(rows) > limit, rows[:limit]
    if backwards:
        rows.reverse()
    if not rows:
        return ListPage([])
    first, last = rows[0], rows[-1]
    return ListPage(
        rows,
        encode(_AFTER, last._sorted_by, last._row_id) if more or backwards else None,
        encode(_BEFORE, first._sorted_by, first._row_id)
        if (more if backwards else cursor is not None)
        else None,
    )


async def count(conn: AsyncConnection, query: Select[Any], up_to: int = MAX_COUNT) -> int:
    """The number of rows of the query; `up_to` means that many or more."""
    first_rows = query.limit(up_to).subquery()
    return int(await conn.scalar(select(func.count()).select_from(first_rows)) or 0)


def paginate(
    items: Sequence[T], key: Callable[[T], str], *, cursor: str | None, limit: int
) -> ListPage[T]:
    """A page of a list that is held in memory; `key` is unique for each item.

    A cursor names the first item of its page.  If that item no longer exists, the first page is
    returned.

    Raises:
        Invalid: the cursor does not belong to a list.
    """
    start = 0
    if cursor is not None:
        (first_key,) = decode(cursor, [str])
        start = next((index for index, item in enumerate(items) if key(item) == first_key), 0)

    def cursor_at(index: int) -> str | None:
        return encode(key(items[index])) if index < len(items) else None

    return ListPage(
        list(items[start : start + limit]),
        cursor_at(start + limit),
        cursor_at(max(0, start - limit)) if start else None,
    )


def starts_with(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """Whether a text starts with the prefix, as typed or in lower case.

    The condition is a range, so that the database can use an index on the column.
    """
    prefixes = {prefix, prefix.lower()}
    return or_(*(column.between(each, each + _LAST_CHARACTER) for each in sorted(prefixes)))


def in_order(ids: Sequence[int], found: dict[int, T]) -> list[T]:
    """The objects for these ids, in the order of the ids; ids without an object are left out."""
    return [found[each] for each in ids if each in found]


def _has_column_type(by: SortOrder, value: object) -> bool:
    # The databases disagree on how to compare text with a number.
    expected: type = by.by.type.python_type
    return value is None or isinstance(value, expected) or expected not in (int, str)


def _after_row(by: SortOrder, value: Any, row_id: int) -> ColumnElement[bool]:
    """The rows after this one: `a > x OR (a = x AND id > y)`, with NULL below everything.

    The redundant `a >= x` in front is the condition that SQLite looks up in its index.
    """
    row_id = max(-LARGEST_ID, min(row_id, LARGEST_ID))
    beyond_id = by.id < row_id if by.descending else by.id > row_id
    if by.by is by.id:
        return beyond_id
    if value is None:
        tied = and_(by.by.is_(None), beyond_id)
        return tied if by.descending else or_(tied, by.by.is_not(None))
    tied = and_(by.by == value, beyond_id)
    if by.descending:
        return or_(and_(by.by <= value, or_(by.by < value, tied)), by.by.is_(None))
    return and_(by.by >= value, or_(by.by > value, tied))
