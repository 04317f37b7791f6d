"""The entries of an import file: one for each row or ONIX record, independent of the format.

A source (`csv_source`, `xlsx_source`, `onix.source`) turns a file into a stream of `BookEntry`,
`Refusal` and `Superseded`; `importer` compares the entries with the store.  A source holds one
row or record in memory and numbers lines as a text editor does.  It yields the same stream each
time it reads the same file, so an import can resume after a crash.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

#: Characters of a refused value that a report shows.
_MAX_LENGTH = 60


class EntryAction(StrEnum):
    """What an entry does with its book."""

    #: Create the book, or update the existing one.
    UPSERT = "upsert"
    #: Update the existing book; an unknown book is refused.
    CHANGE = "change"
    #: Withdraw the book from sale; an unknown book is ignored.
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class BookEntry:
    """A row or record before validation.

    `facts` are the fields of a book by their names in `catalogue.validation`: `isbn13`, `title`,
    `subtitle`, `description`, `publisher`, `year`, `language`, `format`, `pages`,
    `price_cents`, `stock`, `authors` (Contributions) and `categories` (names, not slugs).  A
    missing field keeps the book's value; None clears the value of an optional field.  `isbn13` is
    always present.

    `columns` maps a field to its name in the file where that differs, and `values` maps it to the
    text in the file; refusals show both.  `roles` is True when the file gives the authors' roles
    explicitly; otherwise the import keeps roles that staff set.  `cells` is the row as it is in
    the file.  `remarks` are sentences of the source for the report.
    """

    line: int
    facts: Mapping[str, Any]
    action: EntryAction = EntryAction.UPSERT
    roles: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    cells: Sequence[str] | None = None
    remarks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row or record was refused, in a sentence for the author of the file.

    `column` is None when the reason concerns the whole row.  `value` is shortened by `shorten`.
    `cells` is the row as it is in the file, to be corrected and sent again.  `isbn13` is None when
    the ISBN is missing or was not validated.
    """

    line: int
    column: str | None
    value: str
    reason: str
    cells: Sequence[str] | None = None
    isbn13: str | None = None


@dataclass(frozen=True, slots=True)
class Superseded:
    """A record that a later record of the same book in the same file replaces (`later_line`)."""

    line: int
    isbn13: str
    later_line: int


class ImportSource(Protocol):
    """A file that is open for reading.

    `total` and `done` count bytes or rows, depending on the format.
    """

    total: int
    #: The names of the columns, for the file of refused rows; None in a format without columns.
    header: Sequence[str] | None
    #: Whether the report lists every record, not only the refused ones.
    reports_all_rows: bool

    @property
    def done(self) -> int:
        """How much of `total` has been read."""

    @property
    def findings(self) -> dict[str, Any]:
        """What the source has detected so far, as JSON: the format, and in `rules` a sentence for
        each decision that a user should be able to check.
        """

    def __iter__(self) -> Iterator[BookEntry | Refusal | Superseded]:
        """The entries in the order of the file; can be iterated once."""

    def raw(self) -> Iterator[tuple[int, list[str]] | Refusal]:
        """The unparsed rows with their line numbers, for a preview; replaces iteration."""

    def close(self) -> None:
        """Release the reader of the file."""


def shorten(value: str) -> str:
    """A value shortened for a report, without control characters that affect a terminal."""
    line = " ".join(value[: 4 * _MAX_LENGTH].split())
    line = "".join(char if char.isprintable() else "\ufffd" for char in line)
    return line if len(line) <= _MAX_LENGTH else f"{line[: _MAX_LENGTH - 1]}…"
