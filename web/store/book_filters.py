"""Filters, order and page of a list of books: the query string of `/books`.

Cursor pagination only goes forward.  The URL therefore also contains the cursors of the previous
pages (`cursors`), for the *Previous* link.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

from bookstore.catalogue.listing import BookQuery, Sort
from bookstore.regional import money

#: Limits the length of the URL; further back, *Previous* leads to the first page.
_MAX_CURSORS = 50
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """The raw values of the query string; an empty value means no filter."""

    q: str = ""
    category: str = ""
    author: str = ""
    language: str = ""
    format: str = ""
    price_from: str = ""
    price_to: str = ""
    in_stock: str = ""
    #: "true": the spelling of `q` is not corrected.
    exact: str = ""
    sort: str = ""
    cursor: str = ""
    cursors: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Choice":
        """The choice in a query string, without invalid values."""
        found: dict[str, str] = {}
        for field in fields(cls):
            longest = 8000 if field.name == "cursors" else _LONGEST
            found[field.name] = query.get(field.name, "").strip()[:longest]
        if found["sort"] not in [*Sort]:
            found["sort"] = ""
        if not re.fullmatch("[0-9]{1,18}", found["author"]):
            found["author"] = ""
        for name in ("in_stock", "exact"):
            found[name] = "true" if found[name] == "true" else ""
        return cls(**found)

    @property
    def fields(self) -> dict[str, str]:
        """The values that are set."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def filters(self) -> int:
        """How many filters are set, besides the search text."""
        return len(self.fields.keys() - {"q", "exact", "sort", "cursor", "cursors"})

    @property
    def is_indexable(self) -> bool:
        """Whether search engines should index the list: a category or author, unfiltered."""
        return self.fields.keys() <= {"category", "author"}

    @property
    def address(self) -> str:
        """The URL of this choice."""
        return "/books" + (f"?{urlencode(self.fields)}" if self.fields else "")

    def but(self, **changes: str) -> str:
        """The URL of the first page with other values."""
        return replace(self, **{"cursor": "", "cursors": ""} | changes).address

    def next(self, cursor: str) -> str:
        """The URL of the next page."""
        previous = [*self._previous_cursors, self.cursor] if self.cursor else []
        return self.but(cursor=cursor, cursors=".".join(previous[-_MAX_CURSORS:]))

    @property
    def previous(self) -> str | None:
        """The URL of the previous page; None on the first page."""
        if not self.cursor:
            return None
        *previous, cursor = self._previous_cursors or [""]
        return self.but(cursor=cursor, cursors=".".join(previous))

    @property
    def pages_before(self) -> int:
        """The number of pages before this one."""
        return len(self._previous_cursors) + 1 if self.cursor else 0

    @property
    def wrong_price(self) -> bool:
        """Whether a price field contains an invalid price."""
        return any(price and cents(price) is None for price in (self.price_from, self.price_to))

    @property
    def _previous_cursors(self) -> list[str]:
        return [cursor for cursor in self.cursors.split(".") if cursor]

    def query(self) -> BookQuery:
        """The query for the catalogue."""
        values: dict[str, Any] = {
            "q": self.q or None,
            "category": self.category or None,
            "author": int(self.author) if self.author else None,
            "language": self.language or None,
            "format": self.format or None,
            "min_price_cents": cents(self.price_from),
            "max_price_cents": cents(self.price_to),
            "in_stock": True if self.in_stock else None,
            "sort": Sort(self.sort) if self.sort else None,
        }
        return BookQuery(**values)


def cents(price: str) -> int | None:
    """The cents of a price with a point or a comma: "12.5" is 1250.  None if it is invalid."""
    try:
        return money.parse(price)
    except ValueError:
        return None
