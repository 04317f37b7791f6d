"""The state of a list: filters, sort order and page.

All of it is in the URL, so the browser's Back button works and a copied link shows the same rows.
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
MAX_LENGTH = 200
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Chip(NamedTuple):
    """An active filter; `url` is the list without it."""

    label: str
    value: str
    url: str


@dataclass(frozen=True, slots=True)
class Filter:
    """A field of the filter form; with `choices`, other values are ignored.

    `kind` is `text`, `day` or `money`.  A filter that is shown as tabs has no chip.
    """

    name: str
    label: str
    choices: Mapping[str, str] | None = None
    kind: str = "text"
    tab: bool = False


class ListState:
    """The state of a list, read from the query parameters of a request."""

    def __init__(
        self,
        params: Mapping[str, str],
        path: str,
        filters: Sequence[Filter],
        *,
        sorts: Sequence[str],
        sort: str,
    ) -> None:
        self.path = path
        self.errors: dict[str, str] = {}
        self.filters = {each.name: each for each in filters}
        self.entered = {
            each.name: " ".join(params.get(each.name, "").split())[:MAX_LENGTH] for each in filters
        }
        self.values = {
            each.name: self._validated(each, self.entered[each.name]) for each in filters
        }
        requested = params.get("sort", "")
        self.default_sort = sort
        self.sort = requested if requested.removeprefix("-") in sorts else sort
        size = params.get("size", "")
        self.size = int(size) if size in map(str, SIZES) else SIZES[0]
        self.cursor = params.get("cursor") or None

    def text(self, name: str) -> str | None:
        """The value of a filter; None if the filter is not set."""
        return self.values[name] or None

    def day(self, name: str) -> datetime | None:
        """The beginning of the filter's day in the store's time zone; None if it is not set."""
        found = self.values[name]
        return _midnight(date.fromisoformat(found)) if found else None

    def day_after(self, name: str) -> datetime | None:
        """The end of the filter's day in the store's time zone; None if it is not set."""
        found = self.values[name]
        return _midnight(date.fromisoformat(found) + timedelta(days=1)) if found else None

    def cents(self, name: str) -> int | None:
        """The amount of a filter in cents; None if it is not set."""
        found = self.values[name]
        return form_values.parse_cents(name, found) if found else None

    def url(self, **changes: str) -> str:
        """The first page of the list with these changes to its state."""
        state = {**self.state, **changes}
        state = {name: value for name, value in state.items() if value}
        return f"{self.path}?{urlencode(state)}" if state else self.path

    @property
    def state(self) -> dict[str, str]:
        """The query parameters of the list without the page; defaults are left out."""
        state = {name: value for name, value in self.values.items() if value}
        if self.sort != self.default_sort:
            state["sort"] = self.sort
        if self.size != SIZES[0]:
            state["size"] = str(self.size)
        return state

    @property
    def current_url(self) -> str:
        """The URL of the current page of the list."""
        return self.url(cursor=self.cursor or "")

    def export_url(self, format_name: str) -> str:
        """The URL of a file with all rows of the list; the format is `csv` or `xlsx`."""
        state = urlencode({name: value for name, value in self.state.items() if name != "size"})
        path = f"{self.path}/export.{format_name}"
        return f"{path}?{state}" if state else path

    def tab_url(self, **values: str) -> str:
        """Another tab of the list, with the same filters."""
        return self.url(**values, sort="")

    def sorted_by(self, name: str) -> str:
        """The value of `aria-sort`: `ascending`, `descending` or an empty string."""
        if self.sort.removeprefix("-") != name:
            return ""
        return "descending" if self.sort.startswith("-") else "ascending"

    def sort_url(self, name: str, *, down_first: bool = False) -> str:
        """The list sorted by a column, in reverse if it is sorted by that column already."""
        now = self.sorted_by(name)
        down = now == "ascending" or (not now and down_first)
        return self.url(sort=f"-{name}" if down else name)

    @property
    def chips(self) -> list[Chip]:
        return [
            Chip(each.label, self._label(each), self.url(**{each.name: ""}))
            for each in self.filters.values()
            if self.values[each.name] and not each.tab
        ]

    @property
    def unfiltered_url(self) -> str:
        """The list with its tab and without filters."""
        tabs = {each.name: self.values[each.name] for each in self.filters.values() if each.tab}
        state = {name: value for name, value in tabs.items() if value}
        return f"{self.path}?{urlencode(state)}" if state else self.path

    def _label(self, each: Filter) -> str:
        value = self.values[each.name]
        return each.choices[value] if each.choices is not None else value

    def _validated(self, each: Filter, text: str) -> str:
        """The value of a filter; an empty string if it is not valid.

        The form shows an error at fields that are typed.
        """
        if not text:
            return ""
        if each.choices is not None:
            return text if text in each.choices else ""
        try:
            if each.kind == "day":
                if not _DAY.fullmatch(text):
                    raise ValueError
                # In the year 1, conversion to the store's time zone leaves the range of `datetime`.
                if not 1900 <= date.fromisoformat(text).year <= 2999:
                    raise ValueError
            elif each.kind == "money":
                form_values.parse_cents(each.name, text)
        except Invalid as error:
            self.errors[each.name] = str(error)
            return ""
        except ValueError:
            self.errors[each.name] = "Enter a date such as 2026-03-21."
            return ""
        return text


def parse_query(address: str) -> dict[str, str]:
    """The query parameters in the URL of a list, for forms that were sent from it."""
    return dict(parse_qsl(address.partition("?")[2]))


def format_total(number: int) -> str:
    """The number of rows as a list shows it; large numbers are not counted to the end."""
    return (
        f"{number:,}"
        if number < list_pagination.MAX_COUNT
        else f"{list_pagination.MAX_COUNT:,} and more"
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min).astimezone()
