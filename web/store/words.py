"""Numbers, money, times and names of things, as shoppers read them."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.numbers import format_currency, format_decimal

from bookstore import isbn
from bookstore.addresses import COUNTRIES
from bookstore.records import Book, Contributor

#: From here on a shopper need not hurry.
_LOW = 4
_LOCALE = "en"
#: What stands before a contributor; for other roles the role itself does (`foreword by`).
_BY_ROLE = {
    "author": "by",
    "editor": "edited by",
    "illustrator": "illustrated by",
    "narrator": "read by",
    "photographer": "photographs by",
    "translator": "translated by",
    "contributor": "with",
}
#: Browsers name those that they are descended from: the youngest is asked for first.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
)


@lru_cache(maxsize=4096)
def money(cents: int, currency: str) -> str:
    """An amount with its currency: €12.90."""
    return format_currency(Decimal(cents) / 100, currency, locale=_LOCALE)


def plain_money(cents: int) -> str:
    """An amount as it is typed into a field: 12.90."""
    return f"{cents // 100}.{cents % 100:02}"


def number(value: int) -> str:
    """A number with its thousands apart: 1,217."""
    return format_decimal(value, locale=_LOCALE)


def per_cent(basis_points: int) -> str:
    """A rate, from hundredths of a per cent: 7% or 5.5%."""
    return f"{basis_points / 100:g}%"


def day(moment: datetime) -> str:
    """A day in the store's own time: 24 November 2026."""
    local = moment.astimezone()
    return f"{local.day} {local:%B %Y}"


def clock(moment: datetime) -> str:
    """A time of day in the store's own time, to the second."""
    return f"{moment.astimezone():%H:%M:%S}"


def year(value: int) -> str:
    """A year: 1967, or 750 BC."""
    return str(value) if value >= 0 else f"{-value} BC"


@lru_cache(maxsize=500)
def language(tag: str) -> str:
    """A language's English name."""
    try:
        return Locale.parse(tag, sep="-").get_display_name(_LOCALE) or tag
    except (UnknownLocaleError, ValueError):
        return tag


def country(code: str) -> str:
    """A country's English name."""
    return COUNTRIES.get(code, code)


def stock_of(book: Book) -> tuple[str, str]:
    """Whether the book can be had: the tone and the icon that say so."""
    if book.stock == 0 or not book.available:
        return "grey", "sold-out"
    return ("amber", "low") if book.stock < _LOW else ("green", "on-shelf")


def credits_of(book: Book) -> list[tuple[str, list[Contributor]]]:
    """Who made the book: `by` these, `translated by` those."""
    credits_: dict[str, list[Contributor]] = {}
    for person in book.authors:
        words = _BY_ROLE.get(person.role, f"{person.role} by")
        credits_.setdefault(words, []).append(person)
    return list(credits_.items())


def authors_of(book: Book) -> str:
    """The authors in a line, for places where there is little room."""
    names = [person.name for person in book.authors if person.role == "author"]
    names = names or [person.name for person in book.authors]
    return names[0] + " and others" if len(names) > 2 else " and ".join(names)


def device(user_agent: str | None) -> str:
    """What a browser calls itself, in two words: Firefox on Linux; the beginning of any other."""
    agent = user_agent or ""
    browser = next((name for mark, name in _BROWSERS if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if browser is None:
        return agent[:60]
    return f"{browser} on {system}" if system else browser


FILTERS: dict[str, Callable[..., str]] = {
    "authors": authors_of,
    "clock": clock,
    "country": country,
    "day": day,
    "device": device,
    "hyphenated": isbn.hyphenated,
    "language": language,
    "money": money,
    "number": number,
    "per_cent": per_cent,
    "plain_money": plain_money,
    "year": year,
}
