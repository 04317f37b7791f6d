"""Lists that staff sort as they like, cut by keyset, forwards and backwards.

A slice begins after (or ends before) a row that the cursor names by the value the list is
sorted by and the row's id, so deep pages cost what the first does.
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

#: Counting stops here: nobody reads further, and large tables make it slow.
COUNTED = 1000
_AFTER, _BEFORE = "after", "before"
#: Sorts behind every other sign on both databases.
_LAST_SIGN = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """Some of a list's items, with the cursors of the slices around them; None at the ends."""

    items: list[T]
    next: str | None = None
    previous: str | None = None

    def of(self, items: list[U]) -> "Slice[U]":
        """The same slice, of what its rows stand for."""
        return Slice(items, self.next, self.previous)


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted: by `by`, then by `id`, both in one direction.

    `kinds` are the types of the values of `by`; NULL stands below all others.
    """

    by: ColumnElement[Any]
    id: ColumnElement[int]
    down: bool = False
    kinds: type | tuple[type, ...] = int

    def turned(self) -> "Order":
        return replace(self, down=not self.down)


def order(
    sort: str, columns: Mapping[str, ColumnElement[Any]], row_id: ColumnElement[int], default: str
) -> Order:
    """What `-total` means: downwards by the column of that name; what is unknown is `default`.

    Numbers and NULL may stand in any column, text in those that hold text.
    """
    name = sort.removeprefix("-")
    if name not in columns:
        sort, name = default, default.removeprefix("-")
    kinds = (int, str, type(None))
    return Order(columns[name], row_id, down=sort.startswith("-"), kinds=kinds)


async def cut(
    conn: AsyncConnection, query: Select[Any], by: Order, *, cursor: str | None, limit: int
) -> Slice[Any]:
    """The rows of a slice; the query has neither order nor limit.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    backwards = False
    if cursor is not None:
        way, value, row_id = decode(cursor, [str, by.kinds, int])
        if way not in (_AFTER, _BEFORE) or not _fits(by, value):
            raise Invalid("cursor", "This cursor does not belong to this list.")
        backwards = way == _BEFORE
        query = query.where(_beyond(by.turned() if backwards else by, value, row_id))
    way_there = by.turned() if backwards else by
    query = query.add_columns(by.by.label("_sorted_by"), by.id.label("_row_id"))
    query = query.order_by(
        way_there.by.desc() if way_there.down else way_there.by,
        way_there.id.desc() if way_there.down else way_there.id,
    )
    rows = list(await conn.execute(query.limit(limit + 1)))
    more, rows = len(rows) > limit, rows[:limit]
    if backwards:
        rows.reverse()
    if not rows:
        return Slice([])
    first, last = rows[0], rows[-1]
    return Slice(
        rows,
        encode(_AFTER, last._sorted_by, last._row_id) if more or backwards else None,
        encode(_BEFORE, first._sorted_by, first._row_id)
        if (more if backwards else cursor is not None)
        else None,
    )


async def count(conn: AsyncConnection, query: Select[Any], most: int = COUNTED) -> int:
    """How many rows the query has; `most` stands for that many and more."""
    few = query.limit(most).subquery()
    return int(await conn.scalar(select(func.count()).select_from(few)) or 0)


def part(
    items: Sequence[T], name: Callable[[T], str], *, cursor: str | None, limit: int
) -> Slice[T]:
    """The slice of a list that lies in memory as a whole; `name` tells its items apart.

    A cursor names the first item of its slice; where that has gone, the list begins anew.

    Raises:
        Invalid: the cursor is not one of a list.
    """
    start = 0
    if cursor is not None:
        (wanted,) = decode(cursor, [str])
        start = next((place for place, it in enumerate(items) if name(it) == wanted), 0)

    def at(place: int) -> str | None:
        return encode(name(items[place])) if place < len(items) else None

    return Slice(
        list(items[start : start + limit]),
        at(start + limit),
        at(max(0, start - limit)) if start else None,
    )


def begins(column: ColumnElement[str], start: str) -> ColumnElement[bool]:
    """Whether a text begins so, as typed or in small letters: a range, which an index answers."""
    starts = {start, start.lower()}
    return or_(*(column.between(each, each + _LAST_SIGN) for each in sorted(starts)))


def ordered(ids: Sequence[int], found: dict[int, T]) -> list[T]:
    """What was found for these ids, in their order; what has gone meanwhile is left out."""
    return [found[each] for each in ids if each in found]


def _fits(by: Order, value: object) -> bool:
    # A word where a number belongs would be compared as one of the databases likes.
    wanted: type = by.by.type.python_type
    return value is None or isinstance(value, wanted) or wanted not in (int, str)


def _beyond(by: Order, value: Any, row_id: int) -> ColumnElement[bool]:
    """What comes after a row: `a > x OR (a = x AND id > y)`, NULL below everything.

    The `a >= x` in front says nothing new, but it is what SQLite looks up in its index.
    """
    row_id = max(-LARGEST_ID, min(row_id, LARGEST_ID))
    further = by.id < row_id if by.down else by.id > row_id
    if by.by is by.id:
        return further
    if value is None:
        tied = and_(by.by.is_(None), further)
        return tied if by.down else or_(tied, by.by.is_not(None))
    tied = and_(by.by == value, further)
    if by.down:
        return or_(and_(by.by <= value, or_(by.by < value, tied)), by.by.is_(None))
    return and_(by.by >= value, or_(by.by > value, tied))
