"""Workbooks (XLSX), read in a process of their own that cannot take more than its share.

A workbook is a ZIP archive, so a small one may unpack to anything, and the library that reads
it holds a sheet in memory as a whole.  So what the archive says of itself is checked first, and
the process that unpacks it (`unpacking.py`) is held to limits of memory and time.
"""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import IO, Any, BinaryIO

from bookstore.errors import Invalid
from bookstore.imports import xlsx_worker
from bookstore.imports.columns import Columns
from bookstore.imports.csv_source import fitted, refuse_missing, told
from bookstore.imports.entries import Entry, Refusal
from bookstore.imports.xlsx_worker import DAMAGED

#: What a sheet of 100,000 books and their descriptions unpacks to.
UNPACKED_BYTES = 128 * 1024 * 1024
#: Text of a table shrinks to a tenth; what shrinks more is repetition.
MOST_RATIO = 200
MOST_PARTS = 1000
#: A row on its way from the other process: no row of books is longer.
_LONGEST_LINE = 4 * 1024 * 1024
_TOO_LARGE = "This workbook is too large to be unpacked. Save it as CSV and try again."


class Workbook:
    """The entries of a workbook's first visible sheet (see `Source`).

    Raises:
        Invalid: it is too large, damaged or protected by a password, or its first line lacks a
            column.
    """

    reported = False

    def __init__(
        self, file: BinaryIO, *, currency: str, mapping: Mapping[str, str] | None = None
    ) -> None:
        _check(file)
        self._rows = _rows(file)
        try:
            about = next(self._rows)
            self._sheet: str = about["sheet"]
            self._others: list[str] = about["others"]
            self.total: int = about["rows"]
            self.done = 0
            self.header: Sequence[str] | None = self._first()
            self._columns = Columns(self.header, currency=currency, mapping=mapping)
        except BaseException:
            self._rows.close()
            raise

    @property
    def findings(self) -> dict[str, Any]:
        rules = [f"The sheet {self._sheet!r} was read."]
        if self._others:
            rules.append(f"Not read: {', '.join(map(repr, self._others))}.")
        return {"format": "xlsx", "sheet": self._sheet, **told(self._columns, *rules)}

    def raw(self) -> Iterator[tuple[int, list[str]]]:
        for cells in self._rows:
            self.done += 1
            if any(cell.strip() for cell in cells):
                yield self.done, cells

    def __iter__(self) -> Iterator[Entry | Refusal]:
        refuse_missing(self._columns)
        for number, cells in self.raw():
            yield fitted(self._columns, number, cells)

    def close(self) -> None:
        self._rows.close()

    def _first(self) -> list[str]:
        """The names in the first row that is not empty, without the empty ones at its end."""
        for _, cells in self.raw():
            names = [" ".join(cell.split()) for cell in cells]
            while not names[-1]:
                names.pop()
            return names
        raise Invalid("file", "This workbook is empty.")


def _check(file: BinaryIO) -> None:
    """Raise Invalid when the archive says that it unpacks to too much."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise Invalid("file", DAMAGED) from None
    size = sum(part.file_size for part in parts)
    packed = sum(part.compress_size for part in parts)
    if (
        len(parts) > MOST_PARTS
        or size > UNPACKED_BYTES
        or (size > UNPACKED_BYTES // 16 and size > packed * MOST_RATIO)
    ):
        raise Invalid("file", _TOO_LARGE)


def _rows(file: BinaryIO) -> Generator[Any, None, None]:
    """What the other process reads: first what the sheet is, then its rows of text.

    A generator, so that the process ends with it.
    """
    # The descriptor's own place, which is not that of Python's buffer.
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    with subprocess.Popen(  # noqa: S603  our own program
        # By its path: as a module it would load the whole package into its limited memory.
        [sys.executable, "-P", xlsx_worker.__file__],
        stdin=file.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        try:
            yield from _parsed(process.stdout)
        finally:
            process.kill()


def _parsed(stdout: IO[bytes]) -> Iterator[Any]:
    ended = False
    while line := stdout.readline(_LONGEST_LINE):
        if not line.endswith(b"\n"):
            break
        content = json.loads(line)
        if "error" in content:
            raise Invalid("file", content["error"])
        if "end" in content:
            ended = True
            break
        yield content.get("cells", content)
    if not ended:
        # It was stopped by one of its limits.
        raise Invalid("file", _TOO_LARGE)
