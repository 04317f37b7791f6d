"""Spreadsheets as text (CSV), read line by line: never more than one row in memory.

The first line names the columns and shows what stands between them: a comma, a semicolon
or a tab.  A cell in quotation marks may hold anything, line breaks too (RFC 4180).  A row
that cannot be read is a `Refusal`, and the next line is read as if nothing had happened.
"""

import codecs
import csv
import re
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from bookstore.errors import Invalid

_SEPARATORS = (",", ";", "\t")
#: A row is refused when it is longer; the longest description has 16,000 characters.
_LONGEST_ROW = 100_000
_MOST_LINES = 200
#: What is shown of a value that is refused.
_SHOWN = 60
_CHUNK = 1 << 20
#: Excel writes this line, and shows it to nobody.
_HINT = re.compile(r"\ufeff?sep=(.)\s*")

_STARTS = {
    codecs.BOM_UTF16_LE: "This file is in UTF-16.",
    codecs.BOM_UTF16_BE: "This file is in UTF-16.",
    b"PK\x03\x04": "This is an Excel or OpenDocument workbook.",
    b"\xd0\xcf\x11\xe0": "This is an old Excel workbook.",
    b"%PDF": "This is a PDF.",
}
_HOW = "Save it as CSV in UTF-8 and try again."


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row was not taken.  `column` is None when it is about the row as a whole."""

    line: int
    column: str | None
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """A row: its cells by column, trimmed; `number` is that of its first line, from 1."""

    number: int
    cells: dict[str, str]


class _Unreadable(Exception):
    """The text is no row; `unclosed` when more of it could make it one."""

    def __init__(self, reason: str, *, unclosed: bool = False) -> None:
        super().__init__(reason)
        self.unclosed = unclosed


def open_text(path: Path) -> TextIO:
    """The file, opened for reading, once it is certain that all of it is UTF-8.

    Raises:
        Invalid: it is not; the sentence says what to do.
    """
    line = 1
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            if line == 1:
                for start, what in _STARTS.items():
                    if chunk.startswith(start):
                        raise Invalid("file", f"{what} {_HOW}")
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                raise Invalid("file", f"Line {line} is not in UTF-8. {_HOW}") from None
            line += chunk.count(b"\n")
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise Invalid("file", f"Line {line} is not in UTF-8. {_HOW}") from None
    return path.open(encoding="utf-8-sig", newline="")


def shown(value: str) -> str:
    """A value, shortened to what fits into a report."""
    line = " ".join(value.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


class Sheet:
    """The rows of a stream; its columns by the names in `known`, in any case and order.

    `ignored` are the names in the first line that nobody knows.

    Raises:
        Invalid: the first line lacks a column of `required`, or has one twice.
    """

    def __init__(self, stream: TextIO, *, known: Collection[str], required: Collection[str]):
        self._lines = _numbered(stream)
        self._pending: deque[tuple[int, str]] = deque()
        first = self._next_line()
        while first and not first[1].strip("\ufeff \t\r\n,;"):
            first = self._next_line()
        hint = _HINT.fullmatch(first[1]) if first else None
        if hint:
            first = self._next_line()
        header = first[1].removeprefix("\ufeff") if first else ""
        separators = (hint[1],) if hint else _SEPARATORS
        readings = [(separator, _names(header, separator)) for separator in separators]
        self._separator, names = max(
            readings, key=lambda reading: sum(name.casefold() in known for name in reading[1])
        )
        self.columns = [name.casefold() for name in names]
        self.ignored = [name for name in names if name and name.casefold() not in known]
        for name in known:
            if self.columns.count(name) > 1:
                raise Invalid("file", f"The column {name} is there more than once.")
        missing = [name for name in required if name not in self.columns]
        if missing:
            raise Invalid(
                "file",
                f"The first line has to name the columns; these are missing: {', '.join(missing)}.",
            )

    def __iter__(self) -> Iterator[Line | Refusal]:
        while first := self._next_line():
            number, text = first
            try:
                cells = [cell.strip() for cell in self._row(text)]
            except _Unreadable as error:
                yield Refusal(number, None, shown(text), str(error))
                continue
            if not any(cells):
                continue
            while len(cells) > len(self.columns) and not cells[-1]:
                cells.pop()
            if len(cells) == len(self.columns):
                yield Line(number, dict(zip(self.columns, cells, strict=True)))
            else:
                reason = f"This row has {len(cells)} cells, the first line {len(self.columns)}."
                yield Refusal(number, None, shown(text), reason)

    def _row(self, text: str) -> list[str]:
        """The cells of the row that begins with this line; takes the lines that belong to it."""
        taken: list[tuple[int, str]] = []
        while True:
            try:
                return _cells(text, self._separator)
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


def _numbered(stream: TextIO) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; of one that is too long, the beginning."""
    number = 0
    try:
        while line := stream.readline(_LONGEST_ROW):
            number += 1
            rest = line
            while len(rest) == _LONGEST_ROW and not rest.endswith(("\n", "\r")):
                rest = stream.readline(_LONGEST_ROW)
            yield number, line
    except UnicodeDecodeError:
        raise Invalid("file", f"Line {number + 1} is not in UTF-8. {_HOW}") from None


def _cells(text: str, separator: str) -> list[str]:
    if len(text) >= _LONGEST_ROW:
        raise _Unreadable("This row is too long.")
    try:
        return next(csv.reader([text], delimiter=separator, strict=True), [])
    except csv.Error as error:
        if str(error) == "unexpected end of data":
            reason = "A quotation mark is opened here and never closed."
            raise _Unreadable(reason, unclosed=True) from None
        reason = "There is text behind a closing quotation mark; inside a cell they are doubled."
        raise _Unreadable(reason) from None


def _names(header: str, separator: str) -> list[str]:
    try:
        return [" ".join(cell.split()) for cell in _cells(header, separator)]
    except _Unreadable:
        return []
