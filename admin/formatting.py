"""Template filters of the dashboard: times, states and changes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from bookstore.backoffice import audit_report
from bookstore.catalogue import covers
from bookstore.catalogue.models import Book
from bookstore.regional.shop_time import day_of
from bookstore.regional.shop_time import local as local_time
from bookstore.stored_enum import StoredEnum
from web.store.html import picture

_STEPS = (
    (timedelta(days=2), timedelta(days=1), "days"),
    (timedelta(minutes=90), timedelta(hours=1), "h"),
    (timedelta(seconds=90), timedelta(minutes=1), "min"),
    (timedelta(0), timedelta(seconds=1), "s"),
)


def elapsed(moment: datetime, now: datetime) -> str:
    """The time from `moment` to `now`: 6 min."""
    duration = max(now - moment, timedelta(0))
    for least, unit, name in _STEPS:
        if duration >= least:
            return f"{duration // unit} {name}"
    return "0 s"


def short_time(moment: datetime, now: datetime) -> str:
    """A short time for tables: 14:31 today, 21 Mar this year, else 21 Mar 2025."""
    local, today = local_time(moment), local_time(now)
    if local.date() == today.date():
        return f"{local:%H:%M}"
    year = "" if local.year == today.year else f" {local.year}"
    return f"{local.day} {local:%b}{year}"


def log_time(moment: datetime, now: datetime) -> str:
    """A time for timelines: 14:31:07 today, 21 Mar, 14:31:07 this year, else with the year."""
    local, today = local_time(moment), local_time(now)
    if local.date() == today.date():
        return f"{local:%H:%M:%S}"
    if local.year == today.year:
        return f"{local.day} {local:%b, %H:%M:%S}"
    return f"{local.day} {local:%b %Y, %H:%M}"


def full_time(moment: datetime) -> str:
    """A time to the second: 21 Mar 2026, 14:31:07."""
    local = local_time(moment)
    return f"{local.day} {local:%b %Y, %H:%M:%S}"


def day_code(moment: datetime) -> str:
    """The day in the store, for programs: 2026-03-21."""
    return day_of(moment).isoformat()


def weekday(moment: datetime) -> str:
    """The day in the store: Saturday, 21 March."""
    return f"{local_time(moment):%A, %-d %B}"


def unknown(value: str) -> str:
    """A stored value that only a newer release knows."""
    return f"Unknown: {value}"


def code(value: StoredEnum) -> str:
    """A stored code as it is, such as `process_orders`, or marked as unknown."""
    return str(value) if value.is_known else unknown(value)


def label(name: str) -> str:
    """A code in words: `order-confirmed` is Order confirmed.

    A value that only a newer release knows is shown as unknown: Unknown: order-returned.
    """
    if isinstance(name, StoredEnum) and not name.is_known:
        return unknown(name)
    return name.replace("-", " ").replace("_", " ").capitalize()


def audit_value(value: Any) -> str:
    """A value of the audit log on one line."""
    return audit_report.value_text(value, "(empty)")


def cover_of(book: Book) -> Markup:
    """The small cover for table rows: the uploaded picture, or a generated cover."""
    if book.cover is not None:
        return picture(book.cover)
    author = book.authors[0].name if book.authors else ""
    category = book.categories[0].name if book.categories else None
    # The generator escapes the text in the SVG.
    return Markup(covers.draw_small(book.title, author, category))  # noqa: S704


FILTERS: dict[str, Callable[..., str]] = {
    "audit_value": audit_value,
    "code": code,
    "day_code": day_code,
    "elapsed": elapsed,
    "full_time": full_time,
    "label": label,
    "log_time": log_time,
    "short_time": short_time,
    "unknown": unknown,
    "weekday": weekday,
}
