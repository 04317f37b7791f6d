"""An ONIX message as a source of entries, each book once.

Of several records about one book the later is right, so they are put together, in the order
of the file, to what they leave of the book: it is taken once, with the last of them, and the
others are reported as `Superseded`.  So a dry run says what the real one does, and a second
run of the same file changes nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, BinaryIO

from bookstore.catalogue import isbn
from bookstore.errors import InvalidIsbn
from bookstore.imports.entries import Action, Entry, Refusal, Superseded
from bookstore.imports.onix import code_lists, reader
from bookstore.imports.onix.reader import Record

_ACTIONS = {
    code_lists.Action.REPLACE: Action.TAKE,
    code_lists.Action.UPDATE: Action.CHANGE,
    code_lists.Action.WITHDRAW: Action.WITHDRAW,
}
#: What ONIX calls the fields, for refusals to point at.
_COLUMNS = {
    "isbn13": "ProductIdentifier",
    "title": "TitleText",
    "subtitle": "Subtitle",
    "authors": "Contributor",
    "categories": "Subject",
    "description": "Text",
    "publisher": "PublisherName",
    "year": "PublishingDate",
    "language": "LanguageCode",
    "format": "ProductForm",
    "pages": "ExtentValue",
    "price_cents": "PriceAmount",
}


class Message:
    """The entries of an ONIX message (see `Source`).

    Raises:
        Invalid: it is no ONIX 3 message.
    """

    reported = True
    header: Sequence[str] | None = None

    def __init__(self, file: BinaryIO, *, currency: str, today: date) -> None:
        self._file = file
        self._currency = currency
        self._today = today
        self._ended = False
        self.total = file.seek(0, 2)
        self._last = self._last_records()

    @property
    def done(self) -> int:
        return self.total if self._ended else min(self._file.tell(), self.total)

    @property
    def findings(self) -> dict[str, Any]:
        rules = [f"Prices in {self._currency} were read that hold on {self._today.isoformat()}."]
        if self._last:
            rules.append(
                "Of several records about one book the last is right:"
                f" {len(self._last):,} {'book has' if len(self._last) == 1 else 'books have'}"
                " more than one."
            )
        return {"format": "onix", "rules": rules}

    def __iter__(self) -> Iterator[Entry | Refusal | Superseded]:
        waiting: dict[str, Entry] = {}
        for place, record in enumerate(self._records()):
            if isinstance(record, Refusal):
                yield record
                continue
            entry = _entry(record)
            number = _number(record)
            if number is None or number not in self._last:
                yield entry
                continue
            if number in waiting:
                entry = _together(waiting[number], entry)
            last_place, last_line = self._last[number]
            if place == last_place:
                yield entry
            else:
                waiting[number] = entry
                yield Superseded(record.line, number, last_line)
        self._ended = True

    def raw(self) -> Iterator[tuple[int, list[str]] | Refusal]:
        for record in self._records():
            if isinstance(record, Refusal):
                yield record
            else:
                yield record.line, [record.isbn, str(record.facts.get("title") or "")]

    def close(self) -> None:
        """There is nothing to let go of."""

    def _records(self) -> Iterator[Record | Refusal]:
        self._file.seek(0)
        return reader.records(self._file, currency=self._currency, today=self._today)

    def _last_records(self) -> dict[str, tuple[int, int]]:
        """Of books with several records the place and the line of the last: one pass through it."""
        seen: set[str] = set()
        last: dict[str, tuple[int, int]] = {}
        for place, record in enumerate(self._records()):
            if isinstance(record, Record) and (number := _number(record)):
                if number in seen:
                    last[number] = place, record.line
                seen.add(number)
        return last


def _number(record: Record) -> str | None:
    try:
        return isbn.parse(record.isbn)
    except InvalidIsbn:
        return None


def _entry(record: Record) -> Entry:
    values = {name: str(value) for name, value in record.facts.items() if value is not None}
    return Entry(
        line=record.line,
        facts={"isbn13": record.isbn, **record.facts},
        action=_ACTIONS[record.action],
        roles=True,
        columns=_COLUMNS,
        values={"isbn13": record.isbn, **values},
        notes=record.notes,
    )


def _together(earlier: Entry, later: Entry) -> Entry:
    """What two records about one book leave of it; the later one's place and notes."""
    action = later.action
    if action is Action.CHANGE:
        # A change of a book that is new, or that goes: it is new, or it goes.
        action = earlier.action
    return Entry(
        line=later.line,
        facts={**earlier.facts, **later.facts},
        action=action,
        roles=True,
        columns=_COLUMNS,
        values={**earlier.values, **later.values},
        notes=later.notes,
    )
