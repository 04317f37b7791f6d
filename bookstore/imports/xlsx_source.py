"""Workbooks (XLSX), read in a child process with limited memory and CPU time.

A workbook is a ZIP archive, so a small file can unpack to any size, and the library loads a whole
sheet into memory.  The sizes in the archive's directory are therefore checked first, and the
process that unpacks it (`xlsx_worker.py`) has limits of memory and CPU time.
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
from bookstore.imports.csv_source import column_findings, require_columns, to_entry
from bookstore.imports.entries import BookEntry, Refusal
from bookstore.imports.xlsx_worker import DAMAGED

#: The unpacked size of a sheet with 100,000 books and their descriptions.
UNPACKED_BYTES = 128 * 1024 * 1024
#: A table of text compresses to about a tenth; far higher ratios indicate a ZIP bomb.
MAX_RATIO = 200
MAX_PARTS = 1000
#: Bytes of a row as JSON from the child process; no row of books is longer.
_MAX_LINE_BYTES = 4 * 1024 * 1024
_TOO_LARGE = "This workbook is too large to be unpacked. Save it as CSV and try again."


class Workbook:
    """The entries of a workbook's first visible sheet (see `ImportSource`).

    Raises:
        Invalid: the workbook is too large, damaged, empty or protected by a password, or a column
            is ambiguous.
    """

    reports_all_rows = False

    def __init__(
        self, file: BinaryIO, *, currency: str, mapping: Mapping[str, str] | None = None
    ) -> None:
        _check_size(file)
        self._rows = _rows(file)
        try:
            sheet = next(self._rows)
            self._sheet: str = sheet["sheet"]
            self._others: list[str] = sheet["others"]
            self.total: int = sheet["rows"]
            self.done = 0
            self.header: Sequence[str] | None = self._header()
            self._columns = Columns(self.header, currency=currency, mapping=mapping)
        except BaseException:
            self._rows.close()
            raise

    @property
    def findings(self) -> dict[str, Any]:
        rules = [f"The sheet {self._sheet!r} was read."]
        if self._others:
            rules.append(f"Not read: {', '.join(map(repr, self._others))}.")
        return {"format": "xlsx", "sheet": self._sheet, **column_findings(self._columns, *rules)}

    def raw(self) -> Iterator[tuple[int, list[str]]]:
        for cells in self._rows:
            self.done += 1
            if any(cell.strip() for cell in cells):
                yield self.done, cells

    def __iter__(self) -> Iterator[BookEntry | Refusal]:
        require_columns(self._columns)
        for number, cells in self.raw():
            yield to_entry(self._columns, number, cells)

    def close(self) -> None:
        self._rows.close()

    def _header(self) -> list[str]:
        """The names in the first non-empty row, without empty names at the end."""
        for _, cells in self.raw():
            names = [" ".join(cell.split()) for cell in cells]
            while not names[-1]:
                names.pop()
            return names
        raise Invalid("file", "This workbook is empty.")


def _check_size(file: BinaryIO) -> None:
    """Raise Invalid when the archive declares an unpacked size above the limits."""
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise Invalid("file", DAMAGED) from None
    size = sum(part.file_size for part in parts)
    packed = sum(part.compress_size for part in parts)
    if (
        len(parts) > MAX_PARTS
        or size > UNPACKED_BYTES
        or (size > UNPACKED_BYTES // 16 and size > packed * MAX_RATIO)
    ):
        raise Invalid("file", _TOO_LARGE)


def _rows(file: BinaryIO) -> Generator[Any, None, None]:
    """The output of the child process: a description of the sheet, then its rows as text.

    Closing the generator kills the process.
    """
    # The child reads at the position of the file descriptor, not of Python's buffer.
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    with subprocess.Popen(  # noqa: S603 - a program of our own
        # By path, because `-m` would import the whole package into the limited memory.
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
    while line := stdout.readline(_MAX_LINE_BYTES):
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
        # The process was killed by one of its limits.
        raise Invalid("file", _TOO_LARGE)
