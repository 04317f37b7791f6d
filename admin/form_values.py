"""What staff type into fields, as values."""

import re
from collections.abc import Iterable

from bookstore.errors import Invalid

_MONEY = re.compile(r"([0-9]{1,9})(?:[.,]([0-9]{1,2}))?")
_WHOLE = re.compile(r"-?[0-9]{1,9}")


def cents(field: str, text: str) -> int:
    """An amount, typed with a point or a comma.

    Raises:
        Invalid: it is none.
    """
    found = _MONEY.fullmatch(text.strip())
    if found is None:
        raise Invalid(field, "Type an amount such as 12.90.")
    return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))


def whole(field: str, text: str) -> int:
    """A whole number.

    Raises:
        Invalid: it is none.
    """
    if not _WHOLE.fullmatch(text.strip()):
        raise Invalid(field, "Type a whole number.")
    return int(text)


def ids(values: Iterable[object], most: int) -> list[int]:
    """The numbers among what ticked boxes send, at most so many."""
    return [int(it) for it in values if isinstance(it, str) and is_id(it)][:most]


def is_id(text: str) -> bool:
    """Whether it can be the number of a row."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def reason(field: str, text: str, longest: int = 500) -> str:
    """Words that say why, on one line.

    Raises:
        Invalid: there are none, or too many.
    """
    line = " ".join(text.split())
    if not line:
        raise Invalid(field, "Say why; others will ask.")
    if len(line) > longest:
        raise Invalid(field, f"This has {len(line)} characters; {longest} are allowed.")
    return line
