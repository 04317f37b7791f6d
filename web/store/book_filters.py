"""What a shopper has chosen to see of the catalogue: the query of `/books`.

Lists go on by cursor, which knows only forwards; so the address also carries the trail of
cursors that led here, and *Previous* steps back on it.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

from bookstore.catalogue.listing import Query, Sort

#: A longer trail makes too long an address; whoever has come so far goes back to the start.
_LONGEST_TRAIL = 50
_LONGEST = 500
_PRICE = re.compile(r"([0-9]{1,6})(?:[.,]([0-9]{1,2}))?")


@dataclass(frozen=True, slots=True)
class Choice:
    """The query as it was typed; what is empty is not asked for."""

    q: str = ""
    category: str = ""
    author: str = ""
    language: str = ""
    format: str = ""
    price_from: str = ""
    price_to: str = ""
    in_stock: str = ""
    sort: str = ""
    cursor: str = ""
    trail: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Choice":
        """The choice in an address; what makes no sense is left out."""
        found: dict[str, str] = {}
        for field in fields(cls):
            longest = 8000 if field.name == "trail" else _LONGEST
            found[field.name] = query.get(field.name, "").strip()[:longest]
        if found["sort"] not in [*Sort]:
            found["sort"] = ""
        if not re.fullmatch("[0-9]{1,18}", found["author"]):
            found["author"] = ""
        found["in_stock"] = "true" if found["in_stock"] == "true" else ""
        return cls(**found)

    @property
    def fields(self) -> dict[str, str]:
        """What is chosen, without what is not."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def filters(self) -> int:
        """How many conditions there are beside the question."""
        return len(self.fields.keys() - {"q", "sort", "cursor", "trail"})

    @property
    def is_a_shelf(self) -> bool:
        """Whether it is a list that search engines should know, not a view of one."""
        return self.fields.keys() <= {"category", "author"}

    @property
    def address(self) -> str:
        """Where this choice is shown."""
        return "/books" + (f"?{urlencode(self.fields)}" if self.fields else "")

    def but(self, **changes: str) -> str:
        """The address of another choice, from its first page on."""
        return replace(self, **{"cursor": "", "trail": ""} | changes).address

    def next(self, cursor: str) -> str:
        """The address of the page after this one."""
        trail = [*self._trail, self.cursor] if self.cursor else []
        return self.but(cursor=cursor, trail=".".join(trail[-_LONGEST_TRAIL:]))

    @property
    def previous(self) -> str | None:
        """The address of the page before this one, or of the first."""
        if not self.cursor:
            return None
        *trail, cursor = self._trail or [""]
        return self.but(cursor=cursor, trail=".".join(trail))

    @property
    def pages_before(self) -> int:
        """How many pages come before this one."""
        return len(self._trail) + 1 if self.cursor else 0

    @property
    def wrong_price(self) -> bool:
        """Whether something stands in a price's field that is none."""
        return any(price and cents(price) is None for price in (self.price_from, self.price_to))

    @property
    def _trail(self) -> list[str]:
        return [cursor for cursor in self.trail.split(".") if cursor]

    def query(self) -> Query:
        """The choice as the catalogue understands it."""
        asked: dict[str, Any] = {
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
        return Query(**asked)


def cents(price: str) -> int | None:
    """The cents of a typed price, with a point or a comma: 12.5 is 1250.  None if it is none."""
    match = _PRICE.fullmatch(price)
    if match is None:
        return None
    return int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0"))
