"""What files say about books: one entry for each row or record, whatever the format.

Readers turn a file into a stream of `Entry` and `Refusal` (`sheets.py` for CSV and XLSX,
`onix.py` for ONIX), and the engine (`imports.py`) compares entries with the store.  A reader
holds one row or record in memory, counts lines as an editor does, and gives the same stream
each time it reads the same file: that is how an import goes on after a crash.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

#: What is shown of a value that is refused.
_SHOWN = 60


class Action(StrEnum):
    """What is to be done about the book of an entry."""

    #: Create it, or change the one that is there.
    TAKE = "take"
    #: Change the one that is there; a book that the store does not have is refused.
    CHANGE = "change"
    #: Sell it no longer; of a book that the store does not have nothing is done.
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row or record, not checked yet.

    `facts` are the fields of a book by their names in `drafts.Draft`: `isbn13`, `title`,
    `subtitle`, `description`, `publisher`, `year`, `language`, `format`, `pages`,
    `price_cents`, `stock`, `authors` (Contributions) and `categories` (names, not slugs).  A
    field that is not there says nothing, so the book keeps what it has; None takes away what
    it has (of the optional ones).  `isbn13` is always there.

    `columns` says what the file calls a field, where that is another name, and `values` what
    it has there, both for a refusal to point at.  With `roles` the roles of all authors are
    meant as they are; without, an author may be somebody to whom staff gave another role.
    `cells` are the row as the file has it, `notes` what the reader has to say for the report.
    """

    line: int
    facts: Mapping[str, Any]
    action: Action = Action.TAKE
    roles: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    cells: Sequence[str] | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row or record was not taken, in plain words for whoever made the file.

    `column` is None when it is about the row as a whole; `value` is shortened by `shown`.
    `cells` are the row as the file has it, to be mended and sent again.
    """

    line: int
    column: str | None
    value: str
    reason: str
    cells: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Superseded:
    """A record of a book of which the same file has a later one, in `later_line`."""

    line: int
    isbn13: str
    later_line: int


class Source(Protocol):
    """A file that was opened for reading.

    `total` and `done` count bytes or rows.
    """

    total: int
    #: The names of its columns, for the file of refused rows; None where it has none.
    header: Sequence[str] | None
    #: Whether the report has a line for each of its records, not only for those refused.
    reported: bool

    @property
    def done(self) -> int:
        """How much of `total` is read."""

    @property
    def findings(self) -> dict[str, Any]:
        """What was found out so far, ready for JSON: the format, and as sentences in the list
        `rules` what a person has to know to trust the reading.
        """

    def __iter__(self) -> Iterator[Entry | Refusal | Superseded]:
        """The entries, in the order of the file; may be asked for once."""

    def raw(self) -> Iterator[tuple[int, list[str]] | Refusal]:
        """Instead of entries the rows as they are, each with its line: to look at."""

    def close(self) -> None:
        """Let go of whatever reads it."""


def shown(value: str) -> str:
    """A value, shortened to what fits into a report, without what would move a terminal."""
    line = " ".join(value[: 4 * _SHOWN].split())
    line = "".join(sign if sign.isprintable() else "\ufffd" for sign in line)
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
