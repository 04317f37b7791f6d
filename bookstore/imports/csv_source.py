"""CSV files, read line by line with one row in memory.

The first line names the columns and determines the separator: comma, semicolon, tab or bar.  A
quoted cell may contain anything, including line breaks (RFC 4180).  A row that cannot be parsed
is a `Refusal`; parsing continues at the next line.
"""

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, TextIO

from bookstore.errors import Invalid
from bookstore.imports import columns, encodings
from bookstore.imports.columns import Columns
from bookstore.imports.entries import BookEntry, Refusal, shorten

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
#: Characters.  A longer row is refused; the longest description has 16,000.
_MAX_ROW_LENGTH = 100_000
_MAX_LINES = 200
#: Characters of an unparsable line that the file of refused rows contains.
_MAX_EXCERPT = 1000
#: The first line of some files from Excel; Excel reads it and does not display it.  Saved again, it
#: is quoted, or empty cells follow it.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\s,;|]*', re.IGNORECASE)

_UNCLOSED = "A quotation mark is opened here and never closed."
_TOO_LONG = "This row is too long."
_TEXT_AFTER_QUOTE = (
    "There is text after a closing quotation mark; double quotation marks inside a cell."
)
#: Reasons by a part of the message of `csv.Error`; any other is `_TEXT_AFTER_QUOTE`.
_REASONS = {
    "unexpected end of data": _UNCLOSED,
    "field larger": _TOO_LONG,
    "new-line": "This row contains a line break outside of quotation marks.",
}


class CsvSheet:
    """The entries of a CSV file (see `ImportSource`).

    Raises:
        Invalid: the encoding or the separator is ambiguous, or a column is ambiguous.
    """

    reports_all_rows = False

    def __init__(
        self,
        file: BinaryIO,
        *,
        currency: str,
        mapping: Mapping[str, str] | None = None,
        encoding: str | None = None,
    ) -> None:
        found = encodings.detect(file, encoding)
        self.total = file.seek(0, io.SEEK_END)
        file.seek(0)
        self._file = file
        self._rows = _Rows(io.TextIOWrapper(file, encoding=found.codec, newline=""))
        try:
            self.header: Sequence[str] | None = self._rows.header()
            self._columns = Columns(self.header, currency=currency, mapping=mapping)
        except BaseException:
            # The text wrapper would close the file when it is deleted; the caller owns the file.
            self._rows.close()
            raise
        self._encoding = found

    @property
    def done(self) -> int:
        return self.total if self._rows.ended else min(self._file.tell(), self.total)

    @property
    def findings(self) -> dict[str, Any]:
        separator = self._rows.separator
        rule = f"The file was read as {self._encoding.name}. {self._encoding.rule}"
        return {
            "format": "csv",
            "encoding": self._encoding.name,
            "separator": _SEPARATORS.get(separator, separator),
            **column_findings(self._columns, rule),
        }

    def raw(self) -> Iterator[tuple[int, list[str]] | Refusal]:
        return iter(self._rows)

    def close(self) -> None:
        self._rows.close()

    def __iter__(self) -> Iterator[BookEntry | Refusal]:
        require_columns(self._columns)
        for row in self._rows:
            yield row if isinstance(row, Refusal) else to_entry(self._columns, *row)


def column_findings(columns: Columns, *rules: str) -> dict[str, Any]:
    """The findings about the columns of a sheet, with the applied rules."""
    return {
        "columns": columns.named,
        "ignored_columns": columns.ignored,
        "missing_columns": columns.missing(),
        "rules": [*rules, *columns.applied_rules()],
    }


def require_columns(columns: Columns) -> None:
    """Raise Invalid when a column is missing without which no row can be imported."""
    if missing := columns.missing():
        names = ", ".join(missing)
        reason = f"The first line has to name the columns; these are missing: {names}."
        raise Invalid("file", reason)


def to_entry(columns: Columns, number: int, cells: list[str]) -> BookEntry | Refusal:
    """The entry of a row; a refusal when it has another number of cells than the header."""
    width = len(columns.header)
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    if len(cells) == width:
        return columns.entry(number, cells)
    reason = f"This row has {len(cells):,} cells, the first line {width:,}."
    return Refusal(number, None, shorten(" ".join(cells[:5])), reason, cells)


class _Rows:
    """The rows of a CSV text, after its header."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self._lines = _numbered_lines(stream)
        self._pending: deque[tuple[int, str]] = deque()
        self.separator = ","
        self.ended = False

    def close(self) -> None:
        # Detach without closing: the caller owns the file.
        self._stream.detach()

    def header(self) -> list[str]:
        """The names in the first non-empty line; this line also determines the separator."""
        first = self._next_line()
        while first and not first[1].strip(" \t\r\n,;|"):
            first = self._next_line()
        if first is None:
            raise Invalid("file", "This file is empty.")
        separator_line = _SEPARATOR_LINE.fullmatch(first[1])
        if separator_line:
            first = self._next_line() or first
        number, text = first
        separators = [separator_line[1]] if separator_line else _SEPARATORS
        self.separator = _choose_separator({each: self._names(text, each) for each in separators})
        try:
            cells, _ = self._row(text)
        except _Unreadable as error:
            raise Invalid("file", f"Line {number}: {error}") from None
        return [" ".join(cell.split()) for cell in cells]

    def _names(self, text: str, separator: str) -> list[str]:
        """The names in the header with this separator; empty when it cannot be parsed."""
        self.separator = separator
        try:
            cells, consumed = self._row(text)
        except _Unreadable:
            return []
        self._pending.extendleft(reversed(consumed))
        return [" ".join(cell.split()) for cell in cells]

    def __iter__(self) -> Iterator[tuple[int, list[str]] | Refusal]:
        while first := self._next_line():
            number, text = first
            try:
                cells, _ = self._row(text)
            except _Unreadable as error:
                excerpt = text[:_MAX_EXCERPT].rstrip("\r\n")
                yield Refusal(number, None, shorten(text), str(error), [excerpt])
            else:
                if any(cell.strip() for cell in cells):
                    yield number, cells
        self.ended = True

    def _row(self, text: str) -> tuple[list[str], list[tuple[int, str]]]:
        """The cells of the row that starts with this line, and the further lines it consumed."""
        consumed: list[tuple[int, str]] = []
        while True:
            try:
                return _cells(text, self.separator), consumed
            except _Unreadable as error:
                short = len(text) < _MAX_ROW_LENGTH and len(consumed) < _MAX_LINES
                following = self._next_line() if short and error.unclosed else None
                if following is None:
                    # Only the first line is refused: the others are parsed again as rows.
                    self._pending.extendleft(reversed(consumed))
                    raise _Unreadable(_UNCLOSED if consumed else str(error)) from None
                consumed.append(following)
                text += following[1]

    def _next_line(self) -> tuple[int, str] | None:
        return self._pending.popleft() if self._pending else next(self._lines, None)


def _choose_separator(readings: Mapping[str, list[str]]) -> str:
    """The separator with which most names in the header are known columns."""
    counts = {
        separator: sum(columns.match_column(name) is not None for name in names)
        for separator, names in readings.items()
    }
    best = max(counts.values())
    likely = [separator for separator, count in counts.items() if count == best]
    if best > 1 and len(likely) > 1:
        names = " or ".join(_SEPARATORS[separator] for separator in likely)
        raise Invalid("file", f"The separator of the columns could be a {names}.")
    # Without a known column, use the separator that yields the most columns.
    return max(likely, key=lambda separator: len(readings[separator]))


class _Unreadable(Exception):
    """The text is not a row."""

    @property
    def unclosed(self) -> bool:
        """Whether the text could be a row with the next line."""
        return str(self) == _UNCLOSED


def _numbered_lines(stream: TextIO) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; a line that is too long is cut off."""
    number = 0
    while line := stream.readline(_MAX_ROW_LENGTH):
        number += 1
        rest = line
        while len(rest) == _MAX_ROW_LENGTH and not rest.endswith(("\n", "\r")):
            rest = stream.readline(_MAX_ROW_LENGTH)
        yield number, line


def _cells(text: str, separator: str) -> list[str]:
    if len(text) >= _MAX_ROW_LENGTH:
        raise _Unreadable(_TOO_LONG)
    try:
        return next(csv.reader([text], delimiter=separator, strict=True), [])
    except csv.Error as error:
        reasons = (reason for part, reason in _REASONS.items() if part in str(error))
        raise _Unreadable(next(reasons, _TEXT_AFTER_QUOTE)) from None
