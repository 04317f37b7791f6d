"""Validation of a book's fields, as entered by staff or read from an imported file."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import nh3

from bookstore.catalogue import authors, isbn, language_codes
from bookstore.catalogue.stock import MAX_QUANTITY
from bookstore.errors import Invalid
from bookstore.i18n import sentence

ROLES = (
    "author",
    "editor",
    "translator",
    "illustrator",
    "photographer",
    "narrator",
    "foreword",
    "introduction",
    "afterword",
    "contributor",
)
#: 100,000.00 in a currency with cents.
MAX_PRICE_CENTS = 10_000_000
#: Negative years are BC.  No text that is sold as a book is older.
FIRST_YEAR = -3000
#: Books are announced before they appear.
YEARS_AHEAD = 5
MAX_PAGES = 100_000
MAX_AUTHORS = 100
MAX_CATEGORIES = 20
#: In characters.  A TEXT column of MariaDB holds 65,535 bytes, and a character takes up to four.
DESCRIPTION_LENGTH = 16_000
#: The HTML tags that a description may contain.  Links are removed and their text is kept, because
#: they would lead shoppers away from the store.
_TAGS = {
    "p",
    "br",
    "b",
    "strong",
    "i",
    "em",
    "u",
    "s",
    "sub",
    "sup",
    "ul",
    "ol",
    "li",
    "blockquote",
}

#: Control characters, lone surrogates, and characters that override the writing direction.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e]")
#: Characters that Unicode classifies as letters or symbols but that look blank: Hangul fillers and
#: the blank Braille pattern.
_BLANK_CHARACTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

#: A date in ISO 8601 of which the day, or the month and the day, may be unknown.
_PARTIAL_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}){0,2}")

Rule = Callable[[str, Any, datetime], Any]


@dataclass(frozen=True, slots=True)
class Contribution:
    """A contributor's name and role, before the contributor is stored."""

    name: str
    role: str = "author"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookInput:
    """The fields of a new book, as in the API.  `categories` are slugs."""

    isbn13: str
    title: str
    authors: Sequence[str | Contribution | Mapping[str, str]]
    price_cents: int
    categories: Sequence[str] = ()
    stock: int = 0
    subtitle: str | None = None
    description: str | None = None
    publisher: str | None = None
    year: int | None = None
    language: str | None = None
    format: str | None = None
    pages: int | None = None
    on_sale_from: str | None = None


def validate(values: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """The validated fields, as they are stored: trimmed, normalised and sanitised.

    `authors` becomes a list of `Contribution` without duplicates.

    Raises:
        Invalid: a value breaks a rule, or there is no such field.
    """
    validated = {}
    for field, value in values.items():
        rule = _RULES.get(field)
        if rule is None:
            raise Invalid(field, "This field does not exist or cannot be changed here.")
        validated[field] = rule(field, value, now)
    return validated


def single_line(field: str, value: Any, length: int) -> str:
    """One line of text, in which every run of white space becomes a single space.

    Raises:
        Invalid: it is blank, has more than `length` characters, or contains control characters.
    """
    if not isinstance(value, str):
        raise Invalid(field, "This must be text.")
    line = " ".join(unicodedata.normalize("NFC", value).split())
    if not line or all(map(_is_invisible, line)):
        raise Invalid(field, "This must not be blank.")
    if len(line) > length:
        raise Invalid(
            field,
            sentence(
                "This has %(count)s characters; %(length)s are allowed.",
                count=len(line),
                length=length,
            ),
        )
    _check_no_control_characters(field, line)
    return line


def _is_invisible(char: str) -> bool:
    return char == " " or char in _BLANK_CHARACTERS or unicodedata.category(char) == "Cf"


def _check_no_control_characters(field: str, text: str) -> None:
    if found := _CONTROL.search(text):
        raise Invalid(
            field,
            sentence(
                "This contains a control character (%(code)s).", code=f"U+{ord(found[0]):04X}"
            ),
        )


def _line(length: int) -> Rule:
    return lambda field, value, _: single_line(field, value, length)


def _optional(rule: Rule) -> Rule:
    """A rule for an optional field: None and blank text become None."""

    def optional(field: str, value: Any, now: datetime) -> Any:
        blank = value is None or (isinstance(value, str) and not value.strip())
        return None if blank else rule(field, value, now)

    return optional


def _integer(low: int, high: int) -> Rule:
    def integer(field: str, value: Any, _: datetime) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Invalid(field, "This must be a whole number.")
        if not low <= value <= high:
            raise Invalid(field, f"This must be from {low} to {high}.")
        return value

    return integer


def _year(field: str, value: Any, now: datetime) -> int:
    year: int = _integer(FIRST_YEAR, now.year + YEARS_AHEAD)(field, value, now)
    return year


def _partial_date(field: str, value: Any, _: datetime) -> str:
    if isinstance(value, str) and _PARTIAL_DATE.fullmatch(text := value.strip()):
        try:
            date.fromisoformat(text + "-01-01"[len(text) - 4 :] if len(text) < 10 else text)
        except ValueError:
            pass
        else:
            return text
    raise Invalid(field, "This must be a date such as 2027-03-01, 2027-03 or 2027.")


def _isbn(field: str, value: Any, _: datetime) -> str:
    if not isinstance(value, str):
        raise Invalid(field, "This must be text.")
    return isbn.parse(value)


def _language(field: str, value: Any, _: datetime) -> str:
    if not isinstance(value, str):
        raise Invalid(field, "This must be text.")
    return language_codes.normalize(value)


def _description(field: str, value: Any, _: datetime) -> str | None:
    if not isinstance(value, str):
        raise Invalid(field, "This must be text.")
    lines = unicodedata.normalize("NFC", value).replace("\r\n", "\n").replace("\r", "\n")
    _check_no_control_characters(field, lines.replace("\n", " ").replace("\t", " "))
    html = nh3.clean(lines, tags=_TAGS, attributes={}).strip()
    if len(html) > DESCRIPTION_LENGTH:
        raise Invalid(field, f"This is too long: at most {DESCRIPTION_LENGTH} characters.")
    return html or None


def _authors(field: str, value: Any, _: datetime) -> list[Contribution]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise Invalid(field, "This must be a list.")
    if not value:
        raise Invalid(
            field, "A book needs at least one author. If the author is unknown, enter Anonymous."
        )
    if len(value) > MAX_AUTHORS:
        raise Invalid(field, f"A book has at most {MAX_AUTHORS} authors.")
    return _without_duplicates(_contribution(field, entry) for entry in value)


def _contribution(field: str, entry: Any) -> Contribution:
    match entry:
        case str():
            entry = Contribution(entry)
        case Mapping() if "name" in entry and entry.keys() <= {"name", "role"}:
            entry = Contribution(**entry)
    if not isinstance(entry, Contribution):
        raise Invalid(field, "An author is a name, or a name and a role.")
    if entry.role not in ROLES:
        raise Invalid(field, f"The role of an author must be one of {', '.join(ROLES)}.")
    return Contribution(single_line(field, entry.name, 255), entry.role)


def _without_duplicates(contributions: Iterable[Contribution]) -> list[Contribution]:
    unique: dict[tuple[str, str], Contribution] = {}
    for contribution in contributions:
        unique.setdefault((authors.key(contribution.name), contribution.role), contribution)
    return list(unique.values())


def _categories(field: str, value: Any, _: datetime) -> list[str]:
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or not all(isinstance(slug, str) for slug in value)
    ):
        raise Invalid(field, "This must be a list of slugs.")
    slugs = list(dict.fromkeys(value))
    if len(slugs) > MAX_CATEGORIES:
        raise Invalid(field, f"A book is in at most {MAX_CATEGORIES} categories.")
    return slugs


_RULES: Mapping[str, Rule] = {
    "isbn13": _isbn,
    "title": _line(500),
    "subtitle": _optional(_line(500)),
    "description": _optional(_description),
    "authors": _authors,
    "categories": _categories,
    "publisher": _optional(_line(200)),
    "year": _optional(_year),
    "language": _optional(_language),
    "format": _optional(_line(20)),
    "pages": _optional(_integer(1, MAX_PAGES)),
    "on_sale_from": _optional(_partial_date),
    "price_cents": _integer(0, MAX_PRICE_CENTS),
    "stock": _integer(0, MAX_QUANTITY),
}
