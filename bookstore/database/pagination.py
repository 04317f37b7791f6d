"""Keyset pagination: a page begins after (or ends before) one row of a list.

The cursor names that row by its values in the sort columns, so a late page costs as much as the
first.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.errors import Invalid

#: The largest BIGINT and so the largest id.  SQLite refuses larger numbers as parameters.
LARGEST_ID = 2**63 - 1
#: Counting stops at this number of rows: exact numbers above it are of no use to staff, and
#: counting a large table is slow.
MAX_COUNT = 1000
#: Begins the cursor of a page that ends before a row; not in the alphabet of `encode`.
_BACKWARDS = "~"
#: The character that both databases sort last.
_LAST_CHARACTER = "\U0010ffff"
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, with the cursors of its neighbours; None at the ends of the list."""

    items: list[T]
    next: str | None = None
    previous: str | None = None

    def with_items(self, items: list[U]) -> "Page[U]":
        """This page with other items, usually the objects built from its rows."""
        return Page(items, self.next, self.previous)


@dataclass(frozen=True, slots=True)
class SortOrder:
    """How a list is sorted: by the columns, all in the same direction.

    There are one or two columns, each a number or text.  The last one is unique.  NULL sorts below
    every other value; an expression that is no column must not be NULL.
    """

    columns: tuple[ColumnElement[Any], ...]
    descending: bool = False

    def apply(self, query: Select[Any], cursor: str | None) -> Select[Any]:
        """The query in this order, starting after the row of the cursor.

        Raises:
            Invalid: the cursor does not belong to this list.
        """
        if cursor is not None:
            kinds = [_kinds(column) for column in self.columns]
            query = query.where(self._is_after(decode(cursor, kinds)))
        return query.order_by(*(it.desc() if self.descending else it for it in self.columns))

    def reversed(self) -> "SortOrder":
        return replace(self, descending=not self.descending)

    def _is_after(self, row: Sequence[Any]) -> ColumnElement[bool]:
        """Whether a row follows this one: `a > x OR (a = x AND id > y)`, with NULL below all.

        The redundant `a >= x` in front is the condition that SQLite looks up in its index.
        """
        row_id = self.columns[-1]
        id_after: ColumnElement[bool] = row_id < row[-1] if self.descending else row_id > row[-1]
        if len(self.columns) == 1:
            return id_after
        by, value = self.columns[0], row[0]
        if value is None:
            tied = and_(by.is_(None), id_after)
            return tied if self.descending else or_(tied, by.is_not(None))
        tied = and_(by == value, id_after)
        if not self.descending:
            return and_(by >= value, or_(by > value, tied))
        after = and_(by <= value, or_(by < value, tied))
        return or_(after, by.is_(None)) if _is_nullable(by) else after


def order(
    sort: str, columns: Mapping[str, ColumnElement[Any]], row_id: ColumnElement[int], default: str
) -> SortOrder:
    """The order for a `sort` such as `-total`: descending by the column `total`, then by `row_id`.

    `default` replaces an unknown name.
    """
    name = sort.removeprefix("-")
    if name not in columns:
        sort, name = default, default.removeprefix("-")
    by = columns[name]
    return SortOrder((row_id,) if by is row_id else (by, row_id), descending=sort.startswith("-"))


async def select_page(
    conn: AsyncConnection, query: Select[Any], by: SortOrder, *, cursor: str | None, limit: int
) -> Page[Any]:
    """The rows of one page; the query has neither ORDER BY nor LIMIT.

    The rows also have the columns of the order that the query does not select.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    backwards = cursor is not None and cursor.startswith(_BACKWARDS)
    scan, position = by, cursor
    if cursor is not None and backwards:
        scan, position = by.reversed(), cursor.removeprefix(_BACKWARDS)
    selected = query.selected_columns
    query = query.add_columns(*(it for it in by.columns if not selected.contains_column(it)))
    rows = list(await conn.execute(scan.apply(query, position).limit(limit + 1)))
    more, rows = len(rows) > limit, rows[:limit]
    if backwards:
        rows.reverse()
    if not rows:
        return Page([])
    first, last = (encode(*(row._mapping[it] for it in by.columns)) for row in (rows[0], rows[-1]))
    has_previous = more if backwards else cursor is not None
    return Page(
        rows,
        next=last if more or backwards else None,
        previous=_BACKWARDS + first if has_previous else None,
    )


async def count(conn: AsyncConnection, query: Select[Any], up_to: int = MAX_COUNT) -> int:
    """The number of rows of the query; `up_to` means that many or more."""
    first_rows = query.limit(up_to).subquery()
    return int(await conn.scalar(select(func.count()).select_from(first_rows)) or 0)


def paginate(
    items: Sequence[T],
    sort_key: Callable[[T], tuple[int | str, ...]],
    kinds: Sequence[type],
    *,
    limit: int,
    cursor: str | None,
    descending: bool = False,
) -> Page[T]:
    """A page of a list that is short enough to be held in memory, sorted by `sort_key`.

    `sort_key` returns unique values of the types `kinds`.  A cursor holds those of the first item
    of its page; if that item no longer exists, the page begins with the item after it.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    items = sorted(items, key=sort_key, reverse=descending)
    keys = [sort_key(item) for item in items]
    start = 0
    if cursor is not None:
        first = tuple(decode(cursor, kinds))
        start = sum(key > first if descending else key < first for key in keys)
    end = start + limit
    return Page(
        items[start:end],
        encode(*keys[end]) if end < len(items) else None,
        encode(*keys[max(0, start - limit)]) if start else None,
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


def encode(*values: str | int | float | None) -> str:
    """The cursor for a row: its values in the columns by which the list is sorted."""
    text = json.dumps(values, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, kinds: Sequence[type | tuple[type, ...]]) -> list[Any]:
    """The values in a cursor; `kinds` are their expected types, in order.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    try:
        padding = "=" * (-len(cursor) % 4)
        values = json.loads(base64.b64decode(cursor + padding, altchars="-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        values = None
    if (
        not isinstance(values, list)
        or len(values) != len(kinds)
        or not all(isinstance(value, kind) for value, kind in zip(values, kinds, strict=True))
        or not all(_is_bindable(value) for value in values)
    ):
        raise Invalid("cursor", "This cursor does not belong to this list.")
    return values


def _is_bindable(value: object) -> bool:
    """Whether every database accepts the value as a parameter."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= LARGEST_ID
    return not isinstance(value, str) or value.isascii() or _is_encodable(value)


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # An unpaired surrogate.
        return False
    return True


def _kinds(column: ColumnElement[Any]) -> tuple[type, ...]:
    # The databases disagree on how to compare text with a number.
    kind: type = column.type.python_type
    return (kind, type(None)) if _is_nullable(column) else (kind,)


def _is_nullable(column: ColumnElement[Any]) -> bool:
    return isinstance(column, Column) and bool(column.nullable)
