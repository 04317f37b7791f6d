"""Lists in pages, by keyset: a page begins after the last row of the one before."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bookstore.errors import Invalid

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
        or not all(
            isinstance(value, kind) and not isinstance(value, bool)
            for value, kind in zip(values, kinds, strict=True)
        )
    ):
        raise Invalid("cursor", "This cursor does not belong to this list.")
    return values
