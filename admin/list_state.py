"""A list and its state, all of it in the address: filters, sorting, page.

So going back works, and a copied link shows the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from admin import form_values
from bookstore.database import list_pagination
from bookstore.errors import Invalid

SIZES = (25, 50, 100)
LONGEST = 200
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Chip(NamedTuple):
    """A filter in force; its address is the list without it."""

    label: str
    words: str
    address: str


@dataclass(frozen=True, slots=True)
class Filter:
    """A field of the filter's form; one with `choices` takes nothing else.

    `kind` is `text`, `day` or `money`.  A tab is not shown as a chip.
    """

    name: str
    label: str
    choices: Mapping[str, str] | None = None
    kind: str = "text"
    tab: bool = False


class Listing:
    """What a request asks of a list, by the query of its address."""

    def __init__(
        self,
        asked: Mapping[str, str],
        path: str,
        filters: Sequence[Filter],
        *,
        sorts: Sequence[str],
        sort: str,
    ) -> None:
        self.path = path
        self.faults: dict[str, str] = {}
        self.filters = {each.name: each for each in filters}
        self.typed = {
            each.name: " ".join(asked.get(each.name, "").split())[:LONGEST] for each in filters
        }
        self.values = {each.name: self._checked(each, self.typed[each.name]) for each in filters}
        wanted = asked.get("sort", "")
        self.default_sort = sort
        self.sort = wanted if wanted.removeprefix("-") in sorts else sort
        size = asked.get("size", "")
        self.size = int(size) if size in map(str, SIZES) else SIZES[0]
        self.cursor = asked.get("cursor") or None

    def text(self, name: str) -> str | None:
        """A filter's value; None where it is not in force."""
        return self.values[name] or None

    def day(self, name: str) -> datetime | None:
        """The beginning of the day that a filter names, in the store's own time."""
        found = self.values[name]
        return _midnight(date.fromisoformat(found)) if found else None

    def day_after(self, name: str) -> datetime | None:
        """The end of the day that a filter names."""
        found = self.values[name]
        return _midnight(date.fromisoformat(found) + timedelta(days=1)) if found else None

    def cents(self, name: str) -> int | None:
        """The amount that a filter names."""
        found = self.values[name]
        return form_values.cents(name, found) if found else None

    def url(self, **changes: str) -> str:
        """The list with these changes, from its first page."""
        state = {**self.state, **changes}
        state = {name: value for name, value in state.items() if value}
        return f"{self.path}?{urlencode(state)}" if state else self.path

    @property
    def state(self) -> dict[str, str]:
        """What the address says but for the page; what is as usual is left out."""
        state = {name: value for name, value in self.values.items() if value}
        if self.sort != self.default_sort:
            state["sort"] = self.sort
        if self.size != SIZES[0]:
            state["size"] = str(self.size)
        return state

    @property
    def here(self) -> str:
        """The address of this very page of the list."""
        return self.url(cursor=self.cursor or "")

    def export(self, chosen: str) -> str:
        """Where all that the list shows is had as a file, `csv` or `xlsx`."""
        state = urlencode({name: value for name, value in self.state.items() if name != "size"})
        path = f"{self.path}/export.{chosen}"
        return f"{path}?{state}" if state else path

    def tab(self, **values: str) -> str:
        """Another tab: what was searched for is kept, other filters too."""
        return self.url(**values, sort="")

    def sorted_by(self, name: str) -> str:
        """For `aria-sort`: `ascending`, `descending` or nothing."""
        if self.sort.removeprefix("-") != name:
            return ""
        return "descending" if self.sort.startswith("-") else "ascending"

    def turned(self, name: str, *, down_first: bool = False) -> str:
        """The list sorted by a column, the other way round if it is so already."""
        now = self.sorted_by(name)
        down = now == "ascending" or (not now and down_first)
        return self.url(sort=f"-{name}" if down else name)

    @property
    def chips(self) -> list[Chip]:
        return [
            Chip(each.label, self._words(each), self.url(**{each.name: ""}))
            for each in self.filters.values()
            if self.values[each.name] and not each.tab
        ]

    @property
    def bare(self) -> str:
        """The list with its tab and nothing else."""
        tabs = {each.name: self.values[each.name] for each in self.filters.values() if each.tab}
        kept = {name: value for name, value in tabs.items() if value}
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    def _words(self, each: Filter) -> str:
        value = self.values[each.name]
        return each.choices[value] if each.choices is not None else value

    def _checked(self, each: Filter, typed: str) -> str:
        """The value if it is one, else nothing, and a fault where somebody typed it."""
        if not typed:
            return ""
        if each.choices is not None:
            return typed if typed in each.choices else ""
        try:
            if each.kind == "day":
                if not _DAY.fullmatch(typed):
                    raise ValueError
                # Around the year 1 the store's own time is not in the calendar any more.
                if not 1900 <= date.fromisoformat(typed).year <= 2999:
                    raise ValueError
            elif each.kind == "money":
                form_values.cents(each.name, typed)
        except Invalid as error:
            self.faults[each.name] = str(error)
            return ""
        except ValueError:
            self.faults[each.name] = "Type a day such as 2026-03-21."
            return ""
        return typed


def query_of(address: str) -> dict[str, str]:
    """The state that a list's address has, for forms that were sent from it."""
    return dict(parse_qsl(address.partition("?")[2]))


def total(number: int) -> str:
    """How many there are, as a list says it."""
    return (
        f"{number:,}"
        if number < list_pagination.COUNTED
        else f"{list_pagination.COUNTED:,} and more"
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min).astimezone()
