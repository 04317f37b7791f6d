"""The columns of a sheet: which is which, and what a row of them says about a book.

The first line names them, in any order, capitals, and in the spellings of `SPELLINGS`.  Every
row is read by the rules below; what they leave open is refused, and what they decided is told.

- A price is `12`, `12.9`, `12,90`, `1.234,50` or `1,234.50`: exact, in units of the currency,
  at most two decimals.  `1.234` could be two prices, so it is refused.
- Authors stand between `;` or `|`.  A comma is part of a name: `Tolkien, J.R.R.; Lee, Alan`.
  A role may follow in brackets: `Emily Wilson (translator)`.
- Categories stand between `|`.
- A backslash takes the meaning from a `;`, `|` or backslash behind it.
- An apostrophe in front of `= + - @`, a tab or a line break at the start of a cell (and any
  apostrophes between) is taken off: our exports put it there, so that no spreadsheet takes
  the cell for a formula.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bookstore.catalogue.validation import ROLES, Contribution
from bookstore.errors import Invalid
from bookstore.imports.entries import Entry, Refusal, shown

REQUIRED = ("isbn",)
#: Without all of these a list changes books that the store has, and adds none.
FOR_NEW = ("title", "authors", "price")
COLUMNS = (
    *REQUIRED,
    *FOR_NEW,
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
)
#: A sheet with more columns is not a list of books.
MOST_COLUMNS = 200
#: Other names of the columns, as `_plain` makes them.
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
    }.items()
    for spelling in spellings.split()
}
#: What a spreadsheet would take for the beginning of a formula, behind our own quoting.
FORMULA = re.compile(r"'*[=+\-@\t\r\0]")
_QUOTED = re.compile(r"'+[=+\-@\t\r\0]")
#: What the rules of a book call a column.
_FIELDS = {"isbn": "isbn13", "price": "price_cents", "category": "categories"}
#: One of the two signs is a decimal sign when one or two digits follow, or the other is there.
_PRICES = (
    re.compile(r"(?P<whole>[0-9]{1,9})(?:(?P<sign>[.,])(?P<cents>[0-9]{1,2}))?"),
    re.compile(r"(?P<whole>[0-9]{1,3}(?:\.[0-9]{3})+)(?P<sign>,)(?P<cents>[0-9]{1,2})"),
    re.compile(r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+)(?P<sign>\.)(?P<cents>[0-9]{1,2})"),
)
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:[.,][0-9]{3})+")
#: Spreadsheets like to write 1965.0; with three zeros it could be a thousand times as much.
_WHOLE = re.compile(r"([+\-\u2212]?[0-9]{1,9})(?:[.,]0{1,2})?")
_ROLE = re.compile(rf"(.*\S)\s+\(({'|'.join(ROLES)})\)", re.DOTALL)


class Columns:
    """What the columns of one sheet mean.

    `named` maps a column to the name that the sheet has for it; `ignored` are the names that
    nobody knows, or that `mapping` leaves out.

    Raises:
        Invalid: a column is missing, or could be either of two; `mapping` (a column's name to
            the sheet's, or to "" where none is wanted) can say.
    """

    def __init__(
        self, header: Sequence[str], *, currency: str, mapping: Mapping[str, str] | None = None
    ) -> None:
        if len(header) > MOST_COLUMNS:
            raise Invalid(
                "file",
                f"The first line has {len(header):,} columns; {MOST_COLUMNS} are allowed.",
            )
        self._currency = currency
        self.header = header
        self.rules: list[str] = []
        self._places = _places(header, mapping or {}, self.rules)
        self.named = {column: header[place] for column, place in self._places.items()}
        taken = set(self._places.values())
        self.ignored = [
            shown(name) for place, name in enumerate(header) if place not in taken and name
        ]
        if lacking := [column for column in FOR_NEW if column not in self._places]:
            self.rules.append(
                f"There is no column for {', '.join(lacking)}: the list changes books that the"
                " store has, and adds none."
            )
        self._told: Counter[str] = Counter()
        self._first: dict[str, int] = {}

    def missing(self) -> list[str]:
        """The columns without which no row can be read, or says nothing."""
        needed = REQUIRED if self._places.keys() - {*REQUIRED} else (*REQUIRED, *FOR_NEW)
        return [column for column in needed if column not in self._places]

    def entry(self, line: int, cells: Sequence[str]) -> Entry | Refusal:
        """What a row says; `cells` are as many as the sheet's columns."""
        values = {}
        for column, place in self._places.items():
            if value := self._unquoted(line, cells[place]).strip():
                values[column] = value
        try:
            facts = self._facts(line, values)
        except _Unfit as error:
            value = shown(values.get(error.column, ""))
            return Refusal(line, error.column, value, str(error), cells)
        return Entry(
            line=line,
            facts=facts,
            columns={field: column for column, field in _FIELDS.items()},
            values={_FIELDS.get(column, column): value for column, value in values.items()},
            cells=cells,
        )

    def told(self) -> list[str]:
        """The rules that have decided so far, each with how often and where first."""
        return self.rules + [
            f"{rule} ({count:,} {'row' if count == 1 else 'rows'}, first in line"
            f" {self._first[rule]})"
            for rule, count in sorted(self._told.items())
        ]

    def _facts(self, line: int, values: Mapping[str, str]) -> dict[str, Any]:
        for column in (*REQUIRED, *FOR_NEW):
            if column in self._places and column not in values:
                raise _Unfit(column, "This must not be blank.")
        if values.get("currency", self._currency).upper() != self._currency:
            raise _Unfit("currency", f"The store sells in {self._currency}.")
        facts: dict[str, Any] = {"isbn13": values["isbn"]}
        if "price" in values:
            facts["price_cents"] = self._price(line, values["price"])
        if "authors" in values:
            facts["authors"] = self._authors(line, values["authors"])
        for column in ("stock", "year", "pages"):
            if column in values:
                facts[column] = _whole(column, values[column])
        for column in ("title", "subtitle", "description", "publisher", "language", "format"):
            if column in values:
                facts[column] = values[column]
        if "category" in values:
            facts["categories"] = _parts("category", values["category"], "|")
        return facts

    def _price(self, line: int, text: str) -> int:
        # Spaces of all kinds stand between thousands, in French and Swedish say.
        compact = re.sub(r"(?<=[0-9])\s(?=[0-9]{3}(?:[.,]|\s|$))", "", text)
        if not (parts := next(filter(None, (p.fullmatch(compact) for p in _PRICES)), None)):
            if _THOUSANDS.fullmatch(compact):
                raise _Unfit("price", "This can be read as two prices; write it with two decimals.")
            raise _Unfit(
                "price", "A price is a number like 12.90 or 12,90, without a sign for money."
            )
        if parts["sign"]:
            name = "point" if parts["sign"] == "." else "comma"
            self._tell(line, f"A {name} with one or two digits behind it is the decimal sign.")
        whole = re.sub("[.,]", "", parts["whole"])
        return int(whole) * 100 + int((parts["cents"] or "").ljust(2, "0"))

    def _authors(self, line: int, cell: str) -> list[Contribution]:
        names = _parts("authors", cell, ";|")
        if len(names) == 1 and "," in names[0]:
            self._tell(line, "A comma is part of a name: authors stand between ; or |.")
        people = []
        for name in names:
            if parts := _ROLE.fullmatch(name):
                self._tell(line, "A role in brackets behind an author is read as such.")
                people.append(Contribution(parts[1], parts[2]))
            else:
                people.append(Contribution(name))
        return people

    def _unquoted(self, line: int, cell: str) -> str:
        if not _QUOTED.match(cell):
            return cell
        self._tell(line, "An apostrophe in front of what could be a formula is taken off.")
        return cell[1:]

    def _tell(self, line: int, rule: str) -> None:
        self._told[rule] += 1
        self._first.setdefault(rule, line)


class _Unfit(Exception):
    """A cell that cannot be taken."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


def known(name: str) -> str | None:
    """The column that a name in a first line means; None when it is none of ours."""
    plain = _plain(name)
    return plain if plain in COLUMNS else SPELLINGS.get(plain)


def _plain(name: str) -> str:
    """`Price (EUR)`, `ISBN-13` and `Währung` without what people write differently."""
    name = re.sub(r"\(.*\)|\[.*\]", "", name) or name
    letters = unicodedata.normalize("NFKD", name.casefold().replace("ä", "ae"))
    return "".join(letter for letter in letters if letter.isalnum())


def _places(header: Sequence[str], mapping: Mapping[str, str], rules: list[str]) -> dict[str, int]:
    """The place of each column that is there."""
    places: dict[str, int] = {}
    for column in COLUMNS:
        if column in mapping:
            if mapping[column]:
                places[column] = _mapped(header, column, mapping[column])
            continue
        meant = [place for place, name in enumerate(header) if known(name) == column]
        exact = [place for place in meant if header[place].casefold() == column]
        if len(exact) > 1 or len({header[place].casefold() for place in meant}) < len(meant):
            raise Invalid("file", f"The column {column} is there more than once.")
        if len(meant) > 1 and not exact:
            names = " or ".join(repr(header[place]) for place in meant)
            raise Invalid("file", f"The column {column} could be {names}. Say which one it is.")
        if len(meant) > 1:
            others = ", ".join(repr(header[place]) for place in meant if place not in exact)
            rules.append(f"The column {column} is the one of that name, not {others}.")
        if meant:
            places[column] = (exact or meant)[0]
    twice = [column for column, place in places.items() if [*places.values()].count(place) > 1]
    if twice:
        raise Invalid("mapping", f"The columns {', '.join(twice)} are one and the same.")
    return places


def _mapped(header: Sequence[str], column: str, name: str) -> int:
    places = [
        place
        for place, given in enumerate(header)
        if given.casefold() == " ".join(name.split()).casefold()
    ]
    if not places:
        raise Invalid("mapping", f"The file has no column {name!r} to be the {column}.")
    if len(places) > 1:
        raise Invalid("mapping", f"The file has {len(places)} columns {name!r}.")
    return places[0]


def _parts(column: str, cell: str, separators: str) -> list[str]:
    """The names in a cell."""
    parts = [""]
    signs = iter(cell)
    for sign in signs:
        if sign == "\\":
            following = next(signs, "")
            parts[-1] += following if following in (";", "|", "\\") else sign + following
        elif sign in separators:
            parts.append("")
        else:
            parts[-1] += sign
    names = [part.strip() for part in parts]
    if not any(names):
        raise _Unfit(column, "There is no name here.")
    return [name for name in names if name]


def _whole(column: str, cell: str) -> int:
    if not (parts := _WHOLE.fullmatch(cell)):
        if _THOUSANDS.fullmatch(cell):
            raise _Unfit(column, "This can be read as two numbers; write it in digits alone.")
        raise _Unfit(column, "This has to be a whole number.")
    return int(parts[1].replace("\u2212", "-"))
