"""Lists in pages, by keyset: a page begins after the last row of the one before."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bookstore.errors import Invalid

#: BIGINT: nothing has a larger id, and SQLite cannot even be asked for one.
LARGEST_ID = 2**63 - 1
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list's items; `next` is the cursor of the page after it, None on the last."""

    items: list[T]
    next: str | None


def encode(*values: str | int | float | None) -> str:
    """The cursor that stands for a row: the values by which its list is sorted."""
    text = json.dumps(values, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, kinds: Sequence[type | tuple[type, ...]]) -> list[Any]:
    """The values in a cursor, one of each of `kinds`.

    Raises:
        Invalid: the cursor is not one of this list's.
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
        or not all(_can_be_asked_for(value) for value in values)
    ):
        raise Invalid("cursor", "This cursor does not belong to this list.")
    return values


def of_whole(
    items: Sequence[T],
    place: Callable[[T], tuple[int | str, ...]],
    kinds: Sequence[type | tuple[type, ...]],
    *,
    limit: int,
    cursor: str | None,
) -> Page[T]:
    """A page of a list that is so short that it is read whole.

    `place` gives the values, of these `kinds`, by which the items are sorted, ascending; no
    two have the same.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    after = None if cursor is None else tuple(decode(cursor, kinds))
    rest = [item for item in items if after is None or place(item) > after]
    page = rest[:limit]
    return Page(page, encode(*place(page[-1])) if len(rest) > limit else None)


def _can_be_asked_for(value: object) -> bool:
    """Whether a database takes it as a parameter at all."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= LARGEST_ID
    return not isinstance(value, str) or value.isascii() or _is_text(value)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # Half of a surrogate pair.
        return False
    return True
