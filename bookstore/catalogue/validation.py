"""What staff or a file say about a book, and the rules that it has to keep."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import nh3

from bookstore.catalogue import authors, isbn, language_codes
from bookstore.catalogue.stock import MOST
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
#: 100,000 of a currency with cents.
HIGHEST_PRICE_CENTS = 10_000_000
#: The oldest texts that are sold as books are younger.
FIRST_YEAR = -3000
#: Books are announced before they appear.
YEARS_AHEAD = 5
MOST_PAGES = 100_000
MOST_AUTHORS = 100
MOST_CATEGORIES = 20
#: A TEXT column of MariaDB holds 65,535 bytes, and a letter takes up to four.
DESCRIPTION_LENGTH = 16_000
#: What a description may be marked up with; a link leads shoppers away, so its text stays alone.
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

#: Control characters, halves of surrogate pairs, and what turns the writing direction.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e]")
#: Letters to Unicode, and nothing to the eye: the fillers of Hangul and Braille.
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

Rule = Callable[[str, Any, datetime], Any]


@dataclass(frozen=True, slots=True)
class Contribution:
    """Somebody's part in a book, by name."""

    name: str
    role: str = "author"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A book that is to be: the fields of the API, `categories` by slug."""

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


def checked(facts: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """The same fields as the store keeps them: trimmed, normalised, sanitised.

    `authors` become a list of Contribution without repeats.

    Raises:
        Invalid: a value breaks a rule, or there is no such field.
    """
    kept = {}
    for field, value in facts.items():
        rule = _RULES.get(field)
        if rule is None:
            raise Invalid(field, "A book has no such field, or it is not changed like this.")
        kept[field] = rule(field, value, now)
    return kept


def plain(field: str, value: Any, length: int) -> str:
    """One line of text: spaces of all kinds become single ones.

    Raises:
        Invalid: it is blank, too long, or has characters that nobody can see or type.
    """
    if not isinstance(value, str):
        raise Invalid(field, "This has to be text.")
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
    _refuse_control(field, line)
    return line


def _is_invisible(sign: str) -> bool:
    return sign == " " or sign in _BLANKS or unicodedata.category(sign) == "Cf"


def _refuse_control(field: str, text: str) -> None:
    if found := _CONTROL.search(text):
        raise Invalid(
            field,
            sentence(
                "There is a control character (%(code)s) in it.", code=f"U+{ord(found[0]):04X}"
            ),
        )


def _line(length: int) -> Rule:
    return lambda field, value, _: plain(field, value, length)


def _optional(rule: Rule) -> Rule:
    """None and blank text stand for nothing."""

    def nothing_or(field: str, value: Any, now: datetime) -> Any:
        blank = value is None or (isinstance(value, str) and not value.strip())
        return None if blank else rule(field, value, now)

    return nothing_or


def _whole(low: int, high: int) -> Rule:
    def whole(field: str, value: Any, _: datetime) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Invalid(field, "This has to be a whole number.")
        if not low <= value <= high:
            raise Invalid(field, f"This has to be from {low} to {high}.")
        return value

    return whole


def _year(field: str, value: Any, now: datetime) -> int:
    year: int = _whole(FIRST_YEAR, now.year + YEARS_AHEAD)(field, value, now)
    return year


def _isbn(field: str, value: Any, _: datetime) -> str:
    if not isinstance(value, str):
        raise Invalid(field, "This has to be text.")
    return isbn.parse(value)


def _language(field: str, value: Any, _: datetime) -> str:
    if not isinstance(value, str):
        raise Invalid(field, "This has to be text.")
    return language_codes.normal(value)


def _description(field: str, value: Any, _: datetime) -> str | None:
    if not isinstance(value, str):
        raise Invalid(field, "This has to be text.")
    lines = unicodedata.normalize("NFC", value).replace("\r\n", "\n").replace("\r", "\n")
    _refuse_control(field, lines.replace("\n", " ").replace("\t", " "))
    html = nh3.clean(lines, tags=_TAGS, attributes={}).strip()
    if len(html) > DESCRIPTION_LENGTH:
        raise Invalid(field, f"This is too long; {DESCRIPTION_LENGTH} characters are allowed.")
    return html or None


def _authors(field: str, value: Any, _: datetime) -> list[Contribution]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise Invalid(field, "This has to be a list.")
    if not value:
        raise Invalid(field, "A book has at least one author; some have only Anonymous.")
    if len(value) > MOST_AUTHORS:
        raise Invalid(field, f"A book has at most {MOST_AUTHORS} authors.")
    return _without_repeats(_contribution(field, entry) for entry in value)


def _contribution(field: str, entry: Any) -> Contribution:
    match entry:
        case str():
            entry = Contribution(entry)
        case Mapping() if "name" in entry and entry.keys() <= {"name", "role"}:
            entry = Contribution(**entry)
    if not isinstance(entry, Contribution):
        raise Invalid(field, "An author is a name, or a name and a role.")
    if entry.role not in ROLES:
        raise Invalid(field, f"The role of an author is one of {', '.join(ROLES)}.")
    return Contribution(plain(field, entry.name, 255), entry.role)


def _without_repeats(contributions: Iterable[Contribution]) -> list[Contribution]:
    kept: dict[tuple[str, str], Contribution] = {}
    for contribution in contributions:
        kept.setdefault((authors.key(contribution.name), contribution.role), contribution)
    return list(kept.values())


def _categories(field: str, value: Any, _: datetime) -> list[str]:
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or not all(isinstance(slug, str) for slug in value)
    ):
        raise Invalid(field, "This has to be a list of slugs.")
    slugs = list(dict.fromkeys(value))
    if len(slugs) > MOST_CATEGORIES:
        raise Invalid(field, f"A book is in at most {MOST_CATEGORIES} categories.")
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
    "pages": _optional(_whole(1, MOST_PAGES)),
    "price_cents": _whole(0, HIGHEST_PRICE_CENTS),
    "stock": _whole(0, MOST),
}
