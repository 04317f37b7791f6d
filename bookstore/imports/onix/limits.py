"""Facts that hold only in some places, at some times, for some readers or in one language.

A price, a text, a date or a right of a record applies to the store if its territory contains the
country of the store and its dates contain today.  The rules are in `docs/lists.md`.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, NamedTuple

from babel import Locale
from babel.languages import get_official_languages
from babel.numbers import get_territory_currencies

from bookstore import i18n
from bookstore.catalogue import language_codes
from bookstore.errors import Invalid
from bookstore.imports.entries import shorten
from bookstore.imports.onix import code_lists as codes
from bookstore.imports.onix.elements import text_of

_COUNTRIES = {code for code in map(str, Locale("en").territories) if re.fullmatch("[A-Z]{2}", code)}
_SUBDIVISION = re.compile(r"([A-Z]{2})-[A-Z0-9]{1,3}")
#: An ISO 8601 date, which some senders write instead of the form that the specification asks for.
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?")
_INCLUDED = ("CountriesIncluded", "RegionsIncluded")
_EXCLUDED = ("CountriesExcluded", "RegionsExcluded")


@dataclass(frozen=True)
class Shop:
    """What decides which facts of a record apply: the store's country, its currency, and today."""

    country: str
    currency: str
    today: date

    @cached_property
    def languages(self) -> Sequence[str]:
        """The languages of the store, those that its country speaks first."""
        official = get_official_languages(self.country)
        return sorted(i18n.LANGUAGES, key=lambda language: language not in official)


class Reach(IntEnum):
    """How exactly a territory names the country of the store; the most exact fact applies."""

    NONE = 0
    #: The whole world, or no territory at all.
    WORLD = 1
    #: A region with several countries.
    REGION = 2
    COUNTRY = 3


class Period(NamedTuple):
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def iso(self) -> str:
        """The period in ISO 8601, as exact as it is: `2027`, `2027-03` or `2027-03-01`.

        A week is written as its first day, a quarter as its first month.
        """
        first, last = self
        if (first.month, first.day, last.month, last.day) == (1, 1, 12, 31):
            return f"{first.year:04}"
        if first.day == 1 and last != first:
            return f"{first:%Y-%m}"
        return first.isoformat()


ALWAYS = Period(date.min, date.max)


def reach(element: Any, shop: Shop) -> Reach:
    """How exactly the territory of this element names the store's country; `NONE` excludes it."""
    territory = element.find("Territory")
    if territory is None:
        return Reach.WORLD
    included, excluded = _codes(territory, _INCLUDED), _codes(territory, _EXCLUDED)
    if shop.country in excluded or any(_contains(code, shop) for code in excluded):
        return Reach.NONE
    if shop.country in included:
        return Reach.COUNTRY
    if any(code != codes.WORLD and _contains(code, shop) for code in included):
        return Reach.REGION
    whole_world = codes.WORLD in included or (excluded and not included)
    return Reach.WORLD if whole_world else Reach.NONE


def best_reach(elements: Iterable[Any], shop: Shop) -> Reach:
    """The most exact reach of these elements; `WORLD` when there is none."""
    return max((reach(each, shop) for each in elements), default=Reach.WORLD)


def described(element: Any) -> str:
    """The territory of an element for a report: `AT CH` or `WORLD without US`."""
    territory = element.find("Territory")
    if territory is None:
        return ""
    included, excluded = _codes(territory, _INCLUDED), _codes(territory, _EXCLUDED)
    parts = [" ".join(included)] + (["without", *excluded] if excluded else [])
    return shorten(" ".join(parts).strip())


def unknown_places(product: Any) -> list[str]:
    """The codes of countries and regions in this record that are in no list, in their order."""
    found = (_codes(each, (*_INCLUDED, *_EXCLUDED)) for each in product.iter("Territory"))
    return [code for code in dict.fromkeys(chain.from_iterable(found)) if not _is_known(code)]


def validity(element: Any, tag: str, roles: Mapping[str, str]) -> Period | None:
    """The days on which a fact holds, from its dates in elements `tag` (`PriceDate`).

    `roles` maps the codes of their roles to "from", "until", "span" or "any", which is no limit.
    None means that a date cannot be read or has an unknown role.
    """
    first, last = ALWAYS
    for each in element.findall(tag):
        meaning = roles.get(text_of(each, f"{tag}Role"))
        if meaning == "any":
            continue
        period = period_of(each)
        if meaning is None or period is None:
            return None
        if meaning in ("from", "span"):
            first = max(first, period.first)
        if meaning in ("until", "span"):
            last = min(last, period.last)
    return Period(first, last)


def period_of(element: Any) -> Period | None:
    """The days of the `Date` in this element (list 55); None when it cannot be read."""
    found = element.find("Date")
    if found is None:
        return None
    text = text_of(element, "Date")
    if _ISO_DATE.fullmatch(text):
        text = text.replace("-", "")
    form = found.get("dateformat") or text_of(element, "DateFormat")
    # A date without its format is a day by the specification; senders shorten it nevertheless.
    form = codes.FORMATS_BY_LENGTH.get(len(text), form) if form in ("", "00") else form
    try:
        return _period(text, form)
    except ValueError:  # No such form, or no such day.
        return None


def in_best_language(
    elements: Iterable[Any], languages: Sequence[str], default: str = ""
) -> list[Any]:
    """The elements with a text in the first of these languages that has one, in their order.

    An element without the attribute `language` has the language `default`.  After `languages` an
    unknown language is preferred, then any other.
    """
    ranked = [(language_rank(language_of(each, default), languages), each) for each in elements]
    best = min((rank for rank, _ in ranked), default=0)
    return [each for rank, each in ranked if rank == best]


def language_rank(language: str | None, languages: Sequence[str]) -> int:
    """The place of a language in the order of preference; `pt-BR` has the place of `pt`."""
    if language is None:
        return len(languages)
    base = language.partition("-")[0]
    return languages.index(base) if base in languages else len(languages) + 1


def language_of(element: Any, default: str = "") -> str | None:
    """The language of a text as a BCP 47 tag; None when it is unknown or not stated."""
    return language_tag(element.get("language") or default)


def language_tag(code: str) -> str | None:
    """The BCP 47 tag for a code of a language; None when it is unknown."""
    try:
        return language_codes.normalize(code)
    except Invalid:
        return None


def _codes(territory: Any, tags: Iterable[str]) -> list[str]:
    return [
        code
        for tag in tags
        for each in territory.findall(tag)
        for code in (each.text or "").upper().split()
    ]


def _contains(region: str, shop: Shop) -> bool:
    """Whether a region (list 49) contains the whole country of the store.

    A part of the country, such as `DE-BY`, does not: neither does a fact about it apply to the
    store, nor does its exclusion exclude the store.
    """
    if region == codes.EUROZONE:
        return "EUR" in get_territory_currencies(shop.country, shop.today, shop.today)
    return region == codes.WORLD


@lru_cache(maxsize=1000)
def _is_known(code: str) -> bool:
    part = _SUBDIVISION.fullmatch(code)
    return code in _COUNTRIES or code in codes.REGIONS or bool(part and part[1] in _COUNTRIES)


def _period(text: str, form: str) -> Period:
    """The days of a date in this format of list 55.

    Raises:
        ValueError: the format is unknown, or the text is not in it.
    """
    if form in codes.TIMES:
        text, form = text[:8], "00"
    if form in codes.SPANS:
        unit, half = codes.SPANS[form], len(text) // 2
        first, last = _UNITS[unit](text[:half]).first, _UNITS[unit](text[half:]).last
        if first > last:
            raise ValueError(text)
        return Period(first, last)
    if form not in codes.DATES:
        raise ValueError(form)
    return _UNITS[codes.DATES[form]](text)


def _numbers(text: str, *lengths: int) -> Iterator[int]:
    if not (text.isascii() and text.isdigit() and len(text) == sum(lengths)):
        raise ValueError(text)
    begin = 0
    for length in lengths:
        yield int(text[begin : begin + length])
        begin += length


def _day(text: str) -> Period:
    day = date(*_numbers(text, 4, 2, 2))
    return Period(day, day)


def _week(text: str) -> Period:
    year, week = _numbers(text, 4, 2)
    monday = date.fromisocalendar(year, week, 1)
    return Period(monday, monday + timedelta(days=6))


def _months(year: int, first: int, last: int) -> Period:
    return Period(date(year, first, 1), date(year, last, monthrange(year, last)[1]))


def _month(text: str) -> Period:
    year, month = _numbers(text, 4, 2)
    date(year, month, 1)  # `monthrange` has another error.
    return _months(year, month, month)


def _quarter(text: str) -> Period:
    year, quarter = _numbers(text, 4, 1)
    date(year, 3 * quarter, 1)
    return _months(year, 3 * quarter - 2, 3 * quarter)


def _year(text: str) -> Period:
    (year,) = _numbers(text, 4)
    return _months(year, 1, 12)


_UNITS: Mapping[str, Callable[[str], Period]] = {
    "day": _day,
    "week": _week,
    "month": _month,
    "quarter": _quarter,
    "year": _year,
}
