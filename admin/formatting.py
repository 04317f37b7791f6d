"""Times, states and changes, as staff read them."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from bookstore.catalogue import covers
from bookstore.catalogue.models import Book
from web.store.html import picture

_STEPS = (
    (timedelta(days=2), timedelta(days=1), "days"),
    (timedelta(minutes=90), timedelta(hours=1), "h"),
    (timedelta(seconds=90), timedelta(minutes=1), "min"),
    (timedelta(0), timedelta(seconds=1), "s"),
)
#: Longer values are cut in the audit; the record has the whole.
_LONGEST_VALUE = 200


def ago(moment: datetime, now: datetime) -> str:
    """How long something has lasted: 6 min."""
    lasted = max(now - moment, timedelta(0))
    for least, unit, word in _STEPS:
        if lasted >= least:
            return f"{lasted // unit} {word}"
    return "0 s"


def short(moment: datetime, now: datetime) -> str:
    """A moment in little room: 14:31 today, 21 Mar this year, else 21 Mar 2025."""
    local, today = moment.astimezone(), now.astimezone()
    if local.date() == today.date():
        return f"{local:%H:%M}"
    year = "" if local.year == today.year else f" {local.year}"
    return f"{local.day} {local:%b}{year}"


def logged(moment: datetime, now: datetime) -> str:
    """A moment in a log, its day too unless that is today: 14:31:07, else 21 Mar, 14:31:07.

    Of other years the minute is enough: 21 Mar 2025, 14:31.
    """
    local, today = moment.astimezone(), now.astimezone()
    if local.date() == today.date():
        return f"{local:%H:%M:%S}"
    if local.year == today.year:
        return f"{local.day} {local:%b, %H:%M:%S}"
    return f"{local.day} {local:%b %Y, %H:%M}"


def exactly(moment: datetime) -> str:
    """A moment to the second: 21 Mar 2026, 14:31:07."""
    local = moment.astimezone()
    return f"{local.day} {local:%b %Y, %H:%M:%S}"


def spoken(name: str) -> str:
    """A code in words: `order-confirmed` is Order confirmed."""
    return name.replace("-", " ").replace("_", " ").capitalize()


def value(of: Any) -> str:
    """A value of the audit in a line."""
    if of is None or of == "":
        return "nothing"
    text = of if isinstance(of, str) else json.dumps(of, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def cover_of(book: Book) -> Markup:
    """The book's cover, for rows: its picture, or its cloth and one letter."""
    if book.cover is not None:
        return picture(book.cover)
    author = book.authors[0].name if book.authors else ""
    category = book.categories[0].name if book.categories else None
    # The drawing escapes what stands on it.
    return Markup(covers.draw_small(book.title, author, category))  # noqa: S704


FILTERS: dict[str, Callable[..., str]] = {
    "ago": ago,
    "exactly": exactly,
    "logged": logged,
    "short": short,
    "spoken": spoken,
    "value": value,
}
