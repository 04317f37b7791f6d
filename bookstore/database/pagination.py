"""Keyset pagination: a page begins after the last row of the page before it."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bookstore.errors import Invalid

#: The largest BIGINT and so the largest id.  SQLite refuses larger numbers as parameters.
LARGEST_ID = 2**63 - 1
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `next` is the cursor of the next page, None on the last page."""

    items: list[T]
    next: str | None


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


def paginate(
    items: Sequence[T],
    sort_key: Callable[[T], tuple[int | str, ...]],
    kinds: Sequence[type | tuple[type, ...]],
    *,
    limit: int,
    cursor: str | None,
) -> Page[T]:
    """A page of a list that is short enough to be held in memory.

    `items` are sorted by `sort_key`, ascending.  It returns unique values of the types `kinds`.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    after = None if cursor is None else tuple(decode(cursor, kinds))
    remaining = [item for item in items if after is None or sort_key(item) > after]
    page = remaining[:limit]
    return Page(page, encode(*sort_key(page[-1])) if len(remaining) > limit else None)


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
