"""Parses the text that staff type into fields."""

import re
from collections.abc import Iterable

from bookstore.errors import Invalid
from bookstore.regional import money

#: Characters of a tracking number.
MAX_TRACKING_LENGTH = 200

_WHOLE = re.compile(r"-?[0-9]{1,9}")


def parse_cents(field: str, text: str) -> int:
    """An amount in the store's currency; the decimal separator is a point or a comma.

    Raises:
        Invalid: the text is not an amount.
    """
    try:
        return money.parse(text)
    except ValueError:
        raise Invalid(field, f"Enter an amount such as {money.example()}.") from None


def parse_integer(field: str, text: str) -> int:
    """A whole number.

    Raises:
        Invalid: the text is not a whole number.
    """
    if not _WHOLE.fullmatch(text.strip()):
        raise Invalid(field, "Enter a whole number.")
    return int(text)


def parse_ids(values: Iterable[object], most: int) -> list[int]:
    """The ids of the selected rows, at most `most`; other values are left out."""
    return [int(it) for it in values if isinstance(it, str) and is_id(it)][:most]


def is_id(text: str) -> bool:
    """Whether the text can be the id of a row."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def parse_reason(field: str, text: str, longest: int = 500) -> str:
    """The reason for an action, as one line.

    Raises:
        Invalid: the text is empty or longer than `longest` characters.
    """
    line = " ".join(text.split())
    if not line:
        raise Invalid(field, "Enter a reason.")
    if len(line) > longest:
        raise Invalid(field, f"This has {len(line)} characters; {longest} are allowed.")
    return line


def parse_tracking(field: str, text: str) -> str | None:
    """A tracking number, as one line; None if the text is empty.

    Raises:
        Invalid: it is longer than `MAX_TRACKING_LENGTH` characters.
    """
    line = " ".join(text.split())
    if len(line) > MAX_TRACKING_LENGTH:
        raise Invalid(field, f"A tracking number has at most {MAX_TRACKING_LENGTH} characters.")
    return line or None
