"""Formatting of numbers, money, dates and names in the visitor's language."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton
from babel.numbers import format_currency, format_decimal, format_percent

from bookstore import i18n
from bookstore.catalogue import isbn
from bookstore.catalogue.facets import Count
from bookstore.catalogue.models import Book, Contributor
from bookstore.errors import BookstoreError
from bookstore.i18n import N_, Language, _
from bookstore.regional.money import amount, plain
from bookstore.regional.shop_time import local as local_time
from bookstore.users.addresses import COUNTRIES

#: Date patterns (Unicode TR 35) by language.
_DAY = {"en": "d MMMM y", "de": "d. MMMM y"}
#: Fewer books than this are shown as "Only 3 left".
_LOW_STOCK = 4
#: The text before a contributor's name; other roles use the role itself.
_BY_ROLE = {
    "author": N_("by"),
    "editor": N_("edited by"),
    "illustrator": N_("illustrated by"),
    "narrator": N_("read by"),
    "photographer": N_("photographs by"),
    "translator": N_("translated by"),
    "foreword": N_("foreword by"),
    "introduction": N_("introduction by"),
    "afterword": N_("afterword by"),
    "contributor": N_("with"),
}
_STATUSES = {
    "placed": N_("Placed"),
    "confirmed": N_("Confirmed"),
    "packed": N_("Packed"),
    "shipped": N_("Shipped"),
    "delivered": N_("Delivered"),
    "rejected": N_("Rejected"),
    "cancelled": N_("Cancelled"),
}
_FORMATS = {
    "paperback": N_("Paperback"),
    "hardback": N_("Hardback"),
    "ebook": N_("E-book"),
    "audiobook": N_("Audiobook"),
    "other": N_("Other"),
}
#: User agents contain the names of older browsers, so the order matters: newest first.
_BROWSERS = ("Edg", "OPR/", "Firefox/", "Chrome/", "Safari/")
_SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux")
_DEVICE_NAMES = {"Edg": "Edge", "OPR/": "Opera", "Mac OS X": "Mac"}


def money(cents: int, currency: str) -> str:
    """An amount with its currency: €12.90, or 12,90 €."""
    return _money(cents, currency, i18n.current())


@lru_cache(maxsize=4096)
def _money(cents: int, currency: str, language: Language) -> str:
    return format_currency(amount(cents, currency), currency, locale=language)


def number(value: int) -> str:
    """A number with thousands separators: 1,217."""
    return format_decimal(value, locale=i18n.current())


def counted(count: Count) -> str:
    """A count with an upper limit: 217, or 1,000+."""
    return number(count.number) + ("+" if count.more else "")


def per_cent(basis_points: int) -> str:
    """A rate in basis points as a percentage: 7% or 5.5%."""
    rate = Decimal(basis_points) / 10_000
    return format_percent(rate, locale=i18n.current(), decimal_quantization=False)


def day(moment: datetime) -> str:
    """A date in the store's time zone: 24 November 2026."""
    locale = i18n.current()
    return format_date(local_time(moment), _DAY.get(locale, "long"), locale=locale)


def month(moment: datetime) -> str:
    """The month in the store's time zone: November."""
    return format_date(local_time(moment), "LLLL", locale=i18n.current())


def clock(moment: datetime) -> str:
    """A time of day in the store's time zone, with seconds."""
    return f"{local_time(moment):%H:%M:%S}"


def year(value: int) -> str:
    """A year: 1967, or 750 BC."""
    return str(value) if value >= 0 else _("%s BC") % -value


def partial_date(text: str) -> str:
    """A date of which the day or the month may be unknown (`2027-03`): March 2027."""
    if len(text) == 4:
        return text
    locale = i18n.babel()
    if len(text) == 7:
        return format_skeleton("yMMMM", date.fromisoformat(f"{text}-01"), locale=locale)
    return format_date(date.fromisoformat(text), _DAY.get(i18n.current(), "long"), locale=locale)


def language(tag: str) -> str:
    """A language's name."""
    return _language(tag, i18n.current())


@lru_cache(maxsize=1000)
def _language(tag: str, locale: Language) -> str:
    try:
        return Locale.parse(tag, sep="-").get_display_name(locale) or tag
    except (UnknownLocaleError, ValueError):
        return tag


def country(code: str) -> str:
    """A country's name."""
    if i18n.current() == i18n.DEFAULT:
        return COUNTRIES.get(code, code)
    return i18n.babel().territories.get(code) or COUNTRIES.get(code, code)


def countries(codes: Iterable[str]) -> list[tuple[str, str]]:
    """Names and codes of countries, sorted by name in the visitor's language."""
    return _countries(tuple(codes), i18n.current())


@lru_cache(maxsize=16)
def _countries(codes: Sequence[str], locale: Language) -> list[tuple[str, str]]:
    with i18n.using_language(locale):
        return sorted(((country(code), code) for code in codes), key=lambda it: _sort_key(it[0]))


def _sort_key(name: str) -> str:
    """Ignore accents: Österreich is sorted beside Oman."""
    parts = unicodedata.normalize("NFKD", name).casefold()
    return "".join(char for char in parts if not unicodedata.combining(char))


def status_name(status: str) -> str:
    """The name of an order's status; unknown ones may come from a newer release."""
    name = _STATUSES.get(status)
    return _(name) if name else _("Unknown status")


def format_name(value: str) -> str:
    """The name of a book's format, such as Hardback or E-book."""
    known = _FORMATS.get(value)
    return _(known) if known else value.replace("-", " ").capitalize()


def edition(book: Book) -> str:
    """What distinguishes an edition from others of the same work: Paperback, 1998, German."""
    facts = [
        format_name(book.format) if book.format else None,
        year(book.year) if book.year is not None else None,
        language(book.language) if book.language else None,
    ]
    return ", ".join(fact for fact in facts if fact) or book.title


def translated(sentence: str | BookstoreError) -> str:
    """A message of another module, translated if the catalogue has it."""
    if isinstance(sentence, BookstoreError):
        return sentence.translated()
    return i18n.translated(sentence)


def stock_of(book: Book) -> tuple[str, str]:
    """The tone and the icon for the stock of a book."""
    if book.forthcoming:
        return "grey", "forthcoming"
    if book.stock == 0 or not book.available:
        return "grey", "sold-out"
    return ("amber", "low") if book.stock < _LOW_STOCK else ("green", "in-stock")


def credits_of(book: Book) -> list[tuple[str, list[Contributor]]]:
    """The contributors by role text, such as `by` or `translated by`."""
    credits_: dict[str, list[Contributor]] = {}
    for person in book.authors:
        known = _BY_ROLE.get(person.role)
        words = _(known) if known else _("%s by") % person.role
        credits_.setdefault(words, []).append(person)
    return list(credits_.items())


def authors_of(book: Book) -> str:
    """The authors on one line; more than two are shortened."""
    names = [person.name for person in book.authors if person.role == "author"]
    names = names or [person.name for person in book.authors]
    if len(names) > 2:
        return _("%s and others") % names[0]
    return _(" and ").join(names)


def device(user_agent: str | None) -> str:
    """A short name of a browser, such as "Firefox on Linux"; else the start of its user agent."""
    agent = user_agent or ""
    browser = next((mark for mark in _BROWSERS if mark in agent), None)
    system = next((mark for mark in _SYSTEMS if mark in agent), None)
    if browser is None:
        return agent[:60]
    browser = _DEVICE_NAMES.get(browser, browser.rstrip("/"))
    if system is None:
        return browser
    system = _DEVICE_NAMES.get(system, system)
    return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}


FILTERS: dict[str, Callable[..., str]] = {
    "authors": authors_of,
    "clock": clock,
    "counted": counted,
    "country": country,
    "day": day,
    "device": device,
    "edition": edition,
    "format_name": format_name,
    "hyphenated": isbn.hyphenated,
    "language": language,
    "money": money,
    "number": number,
    "per_cent": per_cent,
    "translated": translated,
    "status_name": status_name,
    "plain_money": plain,
    "year": year,
    "partial_date": partial_date,
}
