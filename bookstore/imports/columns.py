"""The columns of a sheet: which column is which, and how a row becomes the fields of a book.

The first line names the columns, in any order and case, also by the names in `SPELLINGS`.  Rows
are parsed by the rules below.  An ambiguous cell is refused, and every applied rule is reported.

- A price is `12`, `12.9`, `12,90`, `12,-`, `1.234,50` or `1,234.50`, with or without the sign of
  the store's currency: exact, with at most as many decimals as the currency has.  With two
  decimals `1.234` is ambiguous, so it is refused.
- `;` or `|` separates authors.  A comma is part of a name: `Tolkien, J.R.R.; Lee, Alan`.
  A role may follow in brackets: `Emily Wilson (translator)`.
- `|` separates categories.
- A backslash escapes a following `;`, `|` or backslash.
- An apostrophe at the start of a cell before `= + - @`, a tab or a line break (with any number of
  apostrophes between) is removed.  Our exports add it so that no spreadsheet interprets the cell
  as a formula.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from babel.numbers import get_currency_symbol

from bookstore.catalogue.validation import ROLES, Contribution
from bookstore.errors import Invalid
from bookstore.imports.entries import BookEntry, Refusal, shorten
from bookstore.regional import money

REQUIRED = ("isbn",)
#: A list without one of these only changes existing books and adds none.
REQUIRED_FOR_NEW = ("title", "authors", "price")
COLUMNS = (
    *REQUIRED,
    *REQUIRED_FOR_NEW,
    "currency",
    "stock",
    "year",
    "language",
    "category",
    "description",
    "publisher",
    "pages",
    "format",
    "subtitle",
    "on_sale_from",
)
_NUMBERS = {"stock", "year", "pages"}
#: The cells of all columns but these and numbers are stored as they are.
_PARSED = {"isbn", "price", "currency", "authors", "category"}
#: A sheet with more columns is not a list of books.
MAX_COLUMNS = 200
#: Other names of the columns, as `_normalise` returns them.
SPELLINGS: Mapping[str, str] = {
    spelling: column
    for column, spellings in {
        "isbn": "isbn13 isbn10 ean ean13 gtin gtin13 barcode",
        "title": "titel titre titulo titolo booktitle",
        "authors": "author autor autoren auteur auteurs autori writers contributors",
        "price": "preis prix precio prezzo rrp listprice retailprice ladenpreis",
        "currency": "currencycode waehrung wahrung devise moneda valuta",
        "stock": "quantity qty onhand stockonhand bestand lagerbestand copies",
        "year": "publicationyear yearpublished pubyear jahr erscheinungsjahr annee ano anno",
        "language": "lang languagecode sprache langue idioma lingua",
        "category": "categories genre genres kategorie kategorien categorie",
        "description": "beschreibung blurb summary klappentext",
        "publisher": "verlag editeur editorial editore publishername",
        "pages": "pagecount numberofpages seiten seitenzahl nbpages",
        "format": "binding einband productform",
        "subtitle": "untertitel soustitre",
        "on_sale_from": "onsaledate embargodate erstverkaufstag",
    }.items()
    for spelling in spellings.split()
}
#: In these languages, the signs of the currencies of their countries are short.
_SIGN_LANGUAGES = ("en", "de", "fr", "cs", "pl", "hu", "sv", "da", "nb", "tr", "uk", "ja")
#: The start of a cell that a spreadsheet interprets as a formula, after our own escaping.
FORMULA = re.compile(r"'*[=+\-@\t\r\0]")
_ESCAPED_FORMULA = re.compile(r"'+[=+\-@\t\r\0]")
#: The field of a book for each column with another name.
_FIELDS = {"isbn": "isbn13", "price": "price_cents", "category": "categories"}
#: A point or comma is the decimal separator when no more digits follow than the currency has
#: decimals, or when the other sign separates the thousands.
_PRICE_PATTERNS = (
    re.compile(r"(?P<whole>[0-9]{1,9})(?:(?P<sign>[.,])(?P<fraction>[0-9]{1,3}))?"),
    re.compile(r"(?P<whole>[0-9]{1,3}(?:\.[0-9]{3})+)(?P<sign>,)(?P<fraction>[0-9]{1,3})"),
    re.compile(r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+)(?P<sign>\.)(?P<fraction>[0-9]{1,3})"),
)
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:[.,][0-9]{3})+")
#: `12,-` and `12.--` are whole amounts.
_DASHES = re.compile(r"(?<=[0-9])[.,]\s*[-–—]{1,2}$")
#: Spreadsheets write 1965.0 for 1965.  Three zeros are refused: they could be thousands.
_WHOLE = re.compile(r"([+\-\u2212]?[0-9]{1,9})(?:[.,]0{1,2})?")
_ROLE = re.compile(rf"(.*\S)\s+\(({'|'.join(ROLES)})\)", re.DOTALL)


class Columns:
    """The meaning of the columns of one sheet.

    `named` maps a column to its name in the sheet.  `ignored` are the names in the sheet that are
    unknown or that `mapping` excludes.  `mapping` maps a column to its name in the sheet, or to ""
    to exclude it.

    Raises:
        Invalid: a column is missing or ambiguous; `mapping` can resolve it.
    """

    def __init__(
        self, header: Sequence[str], *, currency: str, mapping: Mapping[str, str] | None = None
    ) -> None:
        if len(header) > MAX_COLUMNS:
            raise Invalid(
                "file",
                f"The first line has {len(header):,} columns; {MAX_COLUMNS} are allowed.",
            )
        self._currency = currency
        self.header = header
        self.rules: list[str] = []
        self._positions = _column_positions(header, mapping or {}, self.rules)
        self.named = {column: header[position] for column, position in self._positions.items()}
        used = set(self._positions.values())
        self.ignored = [
            shorten(name) for position, name in enumerate(header) if position not in used and name
        ]
        if absent := [column for column in REQUIRED_FOR_NEW if column not in self._positions]:
            self.rules.append(
                f"There is no column for {', '.join(absent)}: the list changes existing books"
                " and adds none."
            )
        self._rule_counts: Counter[str] = Counter()
        self._first_lines: dict[str, int] = {}

    def missing(self) -> list[str]:
        """The missing columns without which a row cannot be parsed or has no content."""
        needed = (
            REQUIRED if self._positions.keys() - {*REQUIRED} else (*REQUIRED, *REQUIRED_FOR_NEW)
        )
        return [column for column in needed if column not in self._positions]

    def entry(self, line: int, cells: Sequence[str]) -> BookEntry | Refusal:
        """The entry of a row; `cells` has exactly one cell for each column of the sheet."""
        values = {}
        for column, position in self._positions.items():
            if value := self._unescaped(line, cells[position]).strip():
                values[column] = value
        try:
            facts = self._facts(line, values)
        except _InvalidCell as error:
            value = shorten(values.get(error.column, ""))
            return Refusal(line, error.column, value, str(error), cells)
        return BookEntry(
            line=line,
            facts=facts,
            columns={field: column for column, field in _FIELDS.items()},
            values={_FIELDS.get(column, column): value for column, value in values.items()},
            cells=cells,
        )

    def applied_rules(self) -> list[str]:
        """The rules that were applied so far, each with its number of rows and the first line."""
        return self.rules + [
            f"{rule} ({count:,} {'row' if count == 1 else 'rows'}, first in line"
            f" {self._first_lines[rule]})"
            for rule, count in sorted(self._rule_counts.items())
        ]

    def _facts(self, line: int, values: Mapping[str, str]) -> dict[str, Any]:
        for column in (*REQUIRED, *REQUIRED_FOR_NEW):
            if column in self._positions and column not in values:
                raise _InvalidCell(column, "This must not be blank.")
        if values.get("currency", self._currency).upper() != self._currency:
            raise _InvalidCell("currency", f"The store sells in {self._currency}.")
        facts: dict[str, Any] = {"isbn13": values["isbn"]}
        if "price" in values:
            facts["price_cents"] = self._price(line, values["price"])
        if "authors" in values:
            facts["authors"] = self._authors(line, values["authors"])
        for column, value in values.items():
            if column in _NUMBERS:
                facts[column] = _whole_number(column, value)
            elif column not in _PARSED:
                facts[column] = value
        if "category" in values:
            facts["categories"] = _split_names("category", values["category"], "|")
        return facts

    def _price(self, line: int, text: str) -> int:
        # French and Swedish, for example, separate thousands by spaces of several kinds.
        compact = re.sub(r"(?<=[0-9])\s(?=[0-9]{3}(?:[.,]|\s|$))", "", self._without_sign(text))
        compact = _DASHES.sub("", compact)
        places = money.decimals(self._currency)
        if _THOUSANDS.fullmatch(compact) and places != 3:
            if places:
                raise _InvalidCell("price", "This price is ambiguous; write it with two decimals.")
            self._count_rule("A point or comma before three digits separates thousands.", line)
            return int(re.sub("[.,]", "", compact))
        parts = next(filter(None, (each.fullmatch(compact) for each in _PRICE_PATTERNS)), None)
        try:
            if parts is None:
                raise ValueError("no number")
            whole = re.sub("[.,]", "", parts["whole"])
            price = money.units(whole, parts["fraction"], self._currency)
        except ValueError:
            example = money.example(self._currency)
            reason = f"A price in {self._currency} is a number like {example}."
            raise _InvalidCell("price", reason) from None
        if parts["sign"]:
            name = "point" if parts["sign"] == "." else "comma"
            self._count_rule(f"A {name} before the last digits is the decimal separator.", line)
        return price

    def _without_sign(self, text: str) -> str:
        """The amount without the code or the sign of the store's currency."""
        for sign in (self._currency, *_signs(self._currency)):
            for rest in (text.removeprefix(sign), text.removesuffix(sign)):
                if rest != text:
                    return rest.strip()
        return text

    def _authors(self, line: int, cell: str) -> list[Contribution]:
        names = _split_names("authors", cell, ";|")
        if len(names) == 1 and "," in names[0]:
            self._count_rule("A comma is part of a name; authors are separated by ; or |.", line)
        people = []
        for name in names:
            if parts := _ROLE.fullmatch(name):
                self._count_rule(
                    "The role of an author is read from the brackets after the name.", line
                )
                people.append(Contribution(parts[1], parts[2]))
            else:
                people.append(Contribution(name))
        return people

    def _unescaped(self, line: int, cell: str) -> str:
        if not _ESCAPED_FORMULA.match(cell):
            return cell
        self._count_rule("The apostrophe before a possible formula is removed.", line)
        return cell[1:]

    def _count_rule(self, rule: str, line: int) -> None:
        self._rule_counts[rule] += 1
        self._first_lines.setdefault(rule, line)


@cache
def _signs(currency: str) -> Sequence[str]:
    """The signs of a currency in the languages of Europe, the longest first."""
    signs = {get_currency_symbol(currency, locale) for locale in _SIGN_LANGUAGES}
    return sorted(signs, key=len, reverse=True)


class _InvalidCell(Exception):
    """A cell that cannot be parsed."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


def match_column(name: str) -> str | None:
    """The column that a name in the header stands for; None when it is unknown."""
    return _KNOWN.get(_normalise(name))


def _normalise(name: str) -> str:
    """A column name without case, accents, punctuation and anything in brackets."""
    name = _without_brackets(name) or name
    chars = unicodedata.normalize("NFKD", name.casefold().replace("ä", "ae"))
    return "".join(char for char in chars if char.isalnum())


def _without_brackets(name: str) -> str:
    """The name without the text from the first opening to the last closing bracket of each kind.

    A regular expression for this needs quadratic time for a name of opening brackets only.
    """
    for opening, closing in ("()", "[]"):
        start, end = name.find(opening), name.rfind(closing)
        if 0 <= start < end:
            name = name[:start] + name[end + 1 :]
    return name


#: The columns by their names and other spellings, as `_normalise` returns them.
_KNOWN: Mapping[str, str] = {**{_normalise(column): column for column in COLUMNS}, **SPELLINGS}


def _column_positions(
    header: Sequence[str], mapping: Mapping[str, str], rules: list[str]
) -> dict[str, int]:
    """The position of each column that the sheet has."""
    positions: dict[str, int] = {}
    for column in COLUMNS:
        if column in mapping:
            if mapping[column]:
                positions[column] = _mapped_position(header, column, mapping[column])
            continue
        matches = [position for position, name in enumerate(header) if match_column(name) == column]
        exact = [position for position in matches if header[position].casefold() == column]
        if len(exact) > 1 or len({header[position].casefold() for position in matches}) < len(
            matches
        ):
            raise Invalid("file", f"The sheet has the column {column} more than once.")
        if len(matches) > 1 and not exact:
            names = " or ".join(repr(header[position]) for position in matches)
            raise Invalid("file", f"The column {column} could be {names}. Choose one of them.")
        if len(matches) > 1:
            others = ", ".join(
                repr(header[position]) for position in matches if position not in exact
            )
            rules.append(f"The column {column} is the column with exactly that name, not {others}.")
        if matches:
            positions[column] = (exact or matches)[0]
    duplicates = [
        column
        for column, position in positions.items()
        if [*positions.values()].count(position) > 1
    ]
    if duplicates:
        raise Invalid(
            "mapping",
            f"The columns {', '.join(duplicates)} are mapped to the same column of the file.",
        )
    return positions


def _mapped_position(header: Sequence[str], column: str, name: str) -> int:
    positions = [
        position
        for position, given in enumerate(header)
        if given.casefold() == " ".join(name.split()).casefold()
    ]
    if not positions:
        raise Invalid("mapping", f"The file has no column {name!r} for the {column}.")
    if len(positions) > 1:
        raise Invalid("mapping", f"The file has {len(positions)} columns {name!r}.")
    return positions[0]


def _split_names(column: str, cell: str, separators: str) -> list[str]:
    """The names in a cell."""
    parts = [""]
    chars = iter(cell)
    for char in chars:
        if char == "\\":
            following = next(chars, "")
            parts[-1] += following if following in (";", "|", "\\") else char + following
        elif char in separators:
            parts.append("")
        else:
            parts[-1] += char
    names = [part.strip() for part in parts]
    if not any(names):
        raise _InvalidCell(column, "This contains no name.")
    return [name for name in names if name]


def _whole_number(column: str, cell: str) -> int:
    if not (parts := _WHOLE.fullmatch(cell)):
        if _THOUSANDS.fullmatch(cell):
            raise _InvalidCell(column, "This number is ambiguous; write it in digits only.")
        raise _InvalidCell(column, "This must be a whole number.")
    return int(parts[1].replace("\u2212", "-"))
