"""Open an import file.  The format is detected from the content, not from the file name."""

import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO

from bookstore.errors import Invalid
from bookstore.imports import encodings
from bookstore.imports.columns import COLUMNS
from bookstore.imports.csv_source import CsvSheet
from bookstore.imports.entries import ImportSource
from bookstore.imports.onix import limits, reader
from bookstore.imports.onix.source import OnixMessage
from bookstore.imports.xlsx_source import Workbook

#: The first bytes of unsupported formats, and what to call them in the message.
_OTHER_FORMATS = (
    (b"\xd0\xcf\x11\xe0", "an old or protected Excel workbook"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"RIFF", "a picture or a recording"),
    (b"II*\x00", "a picture (TIFF)"),
    (b"MM\x00*", "a picture (TIFF)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"SQLite format 3", "a database"),
    (b"\x7fELF", "a program"),
    (b"{\\rtf", "a text document (RTF)"),
)
_MARC = re.compile(rb"[0-9]{5}[a-z][a-z][a-z ]")
_HTML = re.compile(r"<(!doctype\s+html|html|head|body|table|div|meta)[\s>]", re.IGNORECASE)
_XML = re.compile(r"<(\?xml|!--|!doctype|[a-z_][\w.-]*[\s/>:])", re.IGNORECASE)
_ACCEPTED_FORMATS = (
    "Send a list of books as CSV in UTF-8, as an Excel workbook (XLSX) or as ONIX 3."
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the sender says about a file; the import detects everything that is not set.

    `mapping` maps a column to its name in the sheet, or to "" when it must not be read.
    """

    mapping: Mapping[str, str] | None = None
    encoding: str | None = None

    def check(self) -> None:
        """Raise Invalid when an option has an unknown value."""
        if self.encoding is not None:
            encodings.by_name(self.encoding)
        if unknown := (self.mapping or {}).keys() - set(COLUMNS):
            raise Invalid("mapping", f"There is no column {', '.join(sorted(unknown))}.")

    @staticmethod
    def of_json(stored: Mapping[str, Any]) -> "Options":
        """The options that are stored with a job."""
        return Options(stored["mapping"], stored["encoding"])

    def to_json(self) -> dict[str, Any]:
        """The form in which a job stores them."""
        return {"mapping": dict(self.mapping or {}), "encoding": self.encoding}


def open_source(
    file: BinaryIO, options: Options, *, currency: str, country: str, today: date
) -> ImportSource:
    """The entries of a CSV, XLSX or ONIX file.

    `file` has to be a file on disk.  From ONIX only facts that apply to the store's `country`
    `today` are read.

    Raises:
        Invalid: the file has another format or cannot be read; the message says what to do.
    """
    file.seek(0)
    start = file.read(4096)
    if not start.strip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"):
        raise Invalid("file", "This file is empty.")
    if start.startswith(b"PK\x03\x04"):
        _refuse_other_archives(file)
        return Workbook(file, currency=currency, mapping=options.mapping)
    for beginning, what in _OTHER_FORMATS:
        if start.startswith(beginning):
            raise Invalid("file", f"This is {what}. {_ACCEPTED_FORMATS}")
    if _MARC.match(start) and b"\x1e" in start:
        raise Invalid("file", f"This is a MARC file. {_ACCEPTED_FORMATS}")
    if reader.is_onix(start):
        return OnixMessage(file, limits.Shop(country, currency, today))
    text = _decode_start(start)
    if _HTML.match(text):
        raise Invalid("file", f"This is a web page (HTML). {_ACCEPTED_FORMATS}")
    if _XML.match(text):
        raise Invalid("file", f"This is XML but not an ONIX message. {_ACCEPTED_FORMATS}")
    return CsvSheet(file, currency=currency, mapping=options.mapping, encoding=options.encoding)


def _refuse_other_archives(file: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return  # `Workbook` reports that the archive is damaged.
    if "xl/workbook.xml" in names:
        return
    if "word/document.xml" in names:
        what = "a text document"
    elif "mimetype" in names:
        what = "an OpenDocument file or an e-book"
    else:
        what = "an archive (ZIP)"
    raise Invalid("file", f"This is {what}. {_ACCEPTED_FORMATS}")


def _decode_start(start: bytes) -> str:
    """The beginning of the file as text, exact enough to detect HTML and XML."""
    codec = encodings.of_xml(start) or "utf-8"
    return start.decode(codec, errors="replace").lstrip("\ufeff \t\r\n")
