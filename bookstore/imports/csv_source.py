"""Spreadsheets as text (CSV), read line by line: never more than one row in memory.

The first line names the columns and shows what stands between them: a comma, a semicolon, a
tab or a bar.  A cell in quotation marks may hold anything, line breaks too (RFC 4180).  A row
that cannot be read is a `Refusal`, and the next line is read as if nothing had happened.
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
from bookstore.imports.entries import Entry, Refusal, shown

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
#: A row is refused when it is longer; the longest description has 16,000 characters.
_LONGEST_ROW = 100_000
_MOST_LINES = 200
#: What is kept of a line that cannot be taken apart, to be mended.
_KEPT = 1000
#: Excel writes this line, and shows it to nobody.
_HINT = re.compile(r"sep=(.)\s*", re.IGNORECASE)


class Sheet:
    """The entries of a CSV file (see `Source`).

    Raises:
        Invalid: the encoding or the separator is not clear, or the first line lacks a column.
    """

    reported = False

    def __init__(
        self,
        file: BinaryIO,
        *,
        currency: str,
        mapping: Mapping[str, str] | None = None,
        encoding: str | None = None,
    ) -> None:
        found = encodings.of(file, encoding)
        self.total = file.seek(0, io.SEEK_END)
        file.seek(0)
        self._file = file
        self._rows = _Rows(io.TextIOWrapper(file, encoding=found.codec, newline=""))
        try:
            self.header: Sequence[str] | None = self._rows.header()
            self._columns = Columns(self.header, currency=currency, mapping=mapping)
        except BaseException:
            # Left to itself it would close the file, which is not ours.
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
            **told(self._columns, rule),
        }

    def raw(self) -> Iterator[tuple[int, list[str]] | Refusal]:
        return iter(self._rows)

    def close(self) -> None:
        self._rows.close()

    def __iter__(self) -> Iterator[Entry | Refusal]:
        refuse_missing(self._columns)
        for row in self._rows:
            if isinstance(row, Refusal):
                yield row
                continue
            number, cells = row
            yield fitted(self._columns, number, cells)


def told(known: Columns, *rules: str) -> dict[str, Any]:
    """What was found out about a sheet's columns, and the rules that decided."""
    return {
        "columns": known.named,
        "ignored_columns": known.ignored,
        "missing_columns": known.missing(),
        "rules": [*rules, *known.told()],
    }


def refuse_missing(known: Columns) -> None:
    """Raise Invalid when a sheet lacks columns without which no row can be read, or says
    nothing."""
    if missing := known.missing():
        raise Invalid(
            "file",
            f"The first line has to name the columns; these are missing: {', '.join(missing)}.",
        )


def fitted(known: Columns, number: int, cells: list[str]) -> Entry | Refusal:
    """The entry of a row, if it has as many cells as the first line."""
    width = len(known.header)
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    if len(cells) == width:
        return known.entry(number, cells)
    reason = f"This row has {len(cells):,} cells, the first line {width:,}."
    return Refusal(number, None, shown(" ".join(cells[:5])), reason, cells)


class _Rows:
    """The rows of a text, behind a first line that names the columns."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream
        self._lines = _numbered(stream)
        self._pending: deque[tuple[int, str]] = deque()
        self.separator = ","
        self.ended = False

    def close(self) -> None:
        # The file under it belongs to whoever opened it.
        self._stream.detach()

    def header(self) -> list[str]:
        """The names in the first line that is not empty; it decides about the separator."""
        first = self._next_line()
        while first and not first[1].strip(" \t\r\n,;|"):
            first = self._next_line()
        if first is None:
            raise Invalid("file", "This file is empty.")
        hint = _HINT.fullmatch(first[1])
        if hint:
            first = self._next_line() or first
        number, text = first
        readings = {
            separator: self._names(text, separator)
            for separator in ([hint[1]] if hint else _SEPARATORS)
        }
        self.separator = _decided(readings)
        try:
            cells, _ = self._row(text)
        except _Unreadable as error:
            raise Invalid("file", f"Line {number}: {error}") from None
        return [" ".join(cell.split()) for cell in cells]

    def _names(self, text: str, separator: str) -> list[str]:
        """What the first line would say with this separator; nothing where it makes no sense."""
        self.separator = separator
        try:
            cells, taken = self._row(text)
        except _Unreadable:
            return []
        self._pending.extendleft(reversed(taken))
        return [" ".join(cell.split()) for cell in cells]

    def __iter__(self) -> Iterator[tuple[int, list[str]] | Refusal]:
        while first := self._next_line():
            number, text = first
            try:
                cells, _ = self._row(text)
            except _Unreadable as error:
                yield Refusal(number, None, shown(text), str(error), [text[:_KEPT].rstrip("\r\n")])
                continue
            if any(cell.strip() for cell in cells):
                yield number, cells
        self.ended = True

    def _row(self, text: str) -> tuple[list[str], list[tuple[int, str]]]:
        """The cells of the row that begins with this line, and the further lines it took."""
        taken: list[tuple[int, str]] = []
        while True:
            try:
                return _cells(text, self.separator), taken
            except _Unreadable as error:
                following = (
                    self._next_line()
                    if error.unclosed and len(text) < _LONGEST_ROW and len(taken) < _MOST_LINES
                    else None
                )
                if following is None:
                    # Whatever is wrong, it is wrong with the first line only.
                    self._pending.extendleft(reversed(taken))
                    if taken:
                        reason = "A quotation mark is opened here and never closed."
                        raise _Unreadable(reason) from None
                    raise
                taken.append(following)
                text += following[1]

    def _next_line(self) -> tuple[int, str] | None:
        return self._pending.popleft() if self._pending else next(self._lines, None)


def _decided(readings: Mapping[str, list[str]]) -> str:
    """The separator with which most names in the first line are those of our columns."""
    counts = {
        separator: sum(columns.known(name) is not None for name in names)
        for separator, names in readings.items()
    }
    best = max(counts.values())
    likely = [separator for separator, count in counts.items() if count == best]
    if best > 1 and len(likely) > 1:
        names = " or ".join(_SEPARATORS[separator] for separator in likely)
        raise Invalid("file", f"What stands between the columns could be a {names}.")
    # Where none makes sense of it, the one that makes the most of it.
    return max(likely, key=lambda separator: len(readings[separator]))


class _Unreadable(Exception):
    """The text is no row; `unclosed` when more of it could make it one."""

    def __init__(self, reason: str, *, unclosed: bool = False) -> None:
        super().__init__(reason)
        self.unclosed = unclosed


def _numbered(stream: TextIO) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; of one that is too long, the beginning."""
    number = 0
    while line := stream.readline(_LONGEST_ROW):
        number += 1
        rest = line
        while len(rest) == _LONGEST_ROW and not rest.endswith(("\n", "\r")):
            rest = stream.readline(_LONGEST_ROW)
        yield number, line


def _cells(text: str, separator: str) -> list[str]:
    if len(text) >= _LONGEST_ROW:
        raise _Unreadable("This row is too long.")
    try:
        return next(csv.reader([text], delimiter=separator, strict=True), [])
    except csv.Error as error:
        if str(error) == "unexpected end of data":
            reason = "A quotation mark is opened here and never closed."
            raise _Unreadable(reason, unclosed=True) from None
        if "field larger" in str(error):
            raise _Unreadable("This row is too long.") from None
        if "new-line" in str(error):
            raise _Unreadable("A line ends within this row, outside of quotation marks.") from None
        reason = "There is text behind a closing quotation mark; inside a cell they are doubled."
        raise _Unreadable(reason) from None
