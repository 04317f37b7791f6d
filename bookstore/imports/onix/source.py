"""An ONIX message as a source of entries, one for each book.

A message may have several records about one book; a later record overrides earlier ones.  They
are merged in the order of the file and imported once, at the position of the last; the others are
reported as `Superseded`.  A dry run therefore reports what the real import does, and a second
import of the same file changes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from bookstore.catalogue import isbn
from bookstore.errors import InvalidIsbn
from bookstore.imports.entries import BookEntry, EntryAction, Refusal, Superseded
from bookstore.imports.onix import reader
from bookstore.imports.onix.limits import Shop


class OnixMessage:
    """The entries of an ONIX message (see `ImportSource`).

    Raises:
        Invalid: the file is not an ONIX 3 message.
    """

    reports_all_rows = True
    header: Sequence[str] | None = None

    def __init__(self, file: BinaryIO, shop: Shop) -> None:
        self._file = file
        self._shop = shop
        self._ended = False
        self.total = file.seek(0, 2)
        self._last = self._last_records()

    @property
    def done(self) -> int:
        return self.total if self._ended else min(self._file.tell(), self.total)

    @property
    def findings(self) -> dict[str, Any]:
        shop = self._shop
        rules = [
            f"Prices, texts, dates and rights for {shop.country} on {shop.today.isoformat()} were"
            f" read, and prices in {shop.currency}."
        ]
        if self._last:
            rules.append(
                "Of several records about one book the last applies:"
                f" {len(self._last):,} {'book has' if len(self._last) == 1 else 'books have'}"
                " more than one."
            )
        return {"format": "onix", "rules": rules}

    def __iter__(self) -> Iterator[BookEntry | Refusal | Superseded]:
        pending: dict[str, BookEntry] = {}
        for position, entry in enumerate(self._entries()):
            isbn13 = _isbn_of(entry)
            if isinstance(entry, Refusal) or isbn13 is None or isbn13 not in self._last:
                yield entry
                continue
            if isbn13 in pending:
                entry = _merge(pending[isbn13], entry)
            last_position, last_line = self._last[isbn13]
            if position == last_position:
                yield entry
            else:
                pending[isbn13] = entry
                yield Superseded(entry.line, isbn13, last_line)
        self._ended = True

    def raw(self) -> Iterator[tuple[int, list[str]] | Refusal]:
        for entry in self._entries():
            if isinstance(entry, Refusal):
                yield entry
            else:
                facts = entry.facts
                yield entry.line, [facts["isbn13"], str(facts.get("title") or "")]

    def close(self) -> None:
        """Do nothing: the source holds no resource of its own."""

    def _entries(self) -> Iterator[BookEntry | Refusal]:
        self._file.seek(0)
        return reader.read_records(self._file, self._shop)

    def _last_records(self) -> dict[str, tuple[int, int]]:
        """Position and line of the last record of each book with several; reads the whole file."""
        seen: set[str] = set()
        last: dict[str, tuple[int, int]] = {}
        for position, entry in enumerate(self._entries()):
            if isbn13 := _isbn_of(entry):
                if isbn13 in seen:
                    last[isbn13] = position, entry.line
                seen.add(isbn13)
        return last


def _isbn_of(entry: BookEntry | Refusal) -> str | None:
    """The ISBN of the entry; None for a refusal or an invalid ISBN."""
    try:
        return isbn.parse(entry.facts["isbn13"]) if isinstance(entry, BookEntry) else None
    except InvalidIsbn:
        return None


def _merge(earlier: BookEntry, later: BookEntry) -> BookEntry:
    """Two records about one book as one, with the line and the remarks of the later one."""
    # A change does not alter whether the book is created or withdrawn.
    action = earlier.action if later.action is EntryAction.CHANGE else later.action
    return replace(
        later,
        facts={**earlier.facts, **later.facts},
        action=action,
        values={**earlier.values, **later.values},
    )
