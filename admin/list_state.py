"""The state of a list: filters, sort order and page.

All of it is in the URL, so the browser's Back button works and a copied link shows the same rows.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode

from admin import form_values, formatting
from bookstore.database import pagination
from bookstore.errors import Invalid
from bookstore.regional import shop_time

Q = TypeVar("Q")

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
    """A filter of a list: a field of the filter form, or with `tab` the tabs of the list.

    With `choices`, other values are ignored.  `parse` returns the value for the query, which has it
    in `field` (by default the name of the filter).  It raises `Invalid` for a text that the form
    then shows with the error.
    """

    name: str
    label: str
    choices: Mapping[str, str] | None = None
    field: str = ""
    parse: Callable[[str], object] = str
    tab: bool = False


class ListState:
    """The state of a list, read from the query parameters of a request."""

    def __init__(
        self,
        params: Mapping[str, str],
        path: str,
        filters: Sequence[Filter],
        *,
        sorts: Collection[str],
        sort: str,
        tab_sorts: Mapping[str, str],
    ) -> None:
        self.params = params
        self.path = path
        self.errors: dict[str, str] = {}
        self.filters = {each.name: each for each in filters}
        self.entered = {
            each.name: " ".join(params.get(each.name, "").split())[:MAX_LENGTH] for each in filters
        }
        self.values = {
            each.name: self._validated(each, self.entered[each.name]) for each in filters
        }
        #: The filter that is shown as tabs, and the chosen tab.
        self.tabs = next((each for each in filters if each.tab), None)
        self.tab = self.values[self.tabs.name] if self.tabs else ""
        requested = params.get("sort", "")
        self.default_sort = tab_sorts.get(self.tab, sort)
        self.sort = requested if requested.removeprefix("-") in sorts else self.default_sort
        size = params.get("size", "")
        self.size = int(size) if size in map(str, SIZES) else SIZES[0]
        self.cursor = params.get("cursor") or None

    def query(self, kind: Callable[..., Q], **fields: object) -> Q:
        """The query with the values of the filters; `fields` are used instead of their filters."""
        filters = {each.field or each.name: each for each in self.filters.values()}
        parsed = {
            field: each.parse(self.values[each.name])
            for field, each in filters.items()
            if self.values[each.name] and field not in fields
        }
        return kind(**parsed, **fields)

    def url(self, **changes: str) -> str:
        """The first page of the list with these changes to its state."""
        return _address(self.path, {**self.state, **changes})

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
        return _address(f"{self.path}/export.{format_name}", {**self.state, "size": ""})

    def tab_url(self, tab: str) -> str:
        """Another tab of the list, with the same filters."""
        return self.url(**{self.tabs.name: tab} if self.tabs else {}, sort="")

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
        return _address(self.path, {self.tabs.name: self.tab} if self.tabs else {})

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
            each.parse(text)
        except Invalid as error:
            self.errors[each.name] = str(error)
            return ""
        return text


def labels(values: Iterable[str]) -> dict[str, str]:
    """The choices of a filter: `refund_due` is shown as Refund due."""
    return {str(value): formatting.label(value) for value in values}


def start_of_day(text: str) -> datetime:
    """The beginning of a day in the store's time zone.

    Raises:
        Invalid: the text is not a day.
    """
    return shop_time.start_of(_day(text))


def end_of_day(text: str) -> datetime:
    """The end of a day in the store's time zone, which is the beginning of the next one.

    Raises:
        Invalid: the text is not a day.
    """
    return shop_time.start_of(_day(text) + timedelta(days=1))


def cents(text: str) -> int:
    """An amount in cents.

    Raises:
        Invalid: the text is not an amount.
    """
    return form_values.parse_cents("price", text)


def row_id(text: str) -> int | None:
    """The id of a row; None means no filter, for a text that cannot be an id."""
    return int(text) if form_values.is_id(text) else None


def parse_query(address: str) -> dict[str, str]:
    """The query parameters in the URL of a list, for forms that were sent from it."""
    return dict(parse_qsl(address.partition("?")[2]))


def format_total(number: int) -> str:
    """The number of rows as a list shows it; large numbers are not counted to the end."""
    most = pagination.MAX_COUNT
    return f"{number:,}" if number < most else f"{most:,} and more"


def _address(path: str, params: Mapping[str, str]) -> str:
    query = urlencode({name: value for name, value in params.items() if value})
    return f"{path}?{query}" if query else path


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else date.min
    except ValueError:
        day = date.min
    # In the year 1, conversion to the store's time zone leaves the range of `datetime`.
    if not 1900 <= day.year <= 2999:
        raise Invalid("day", "Enter a date such as 2026-03-21.")
    return day
