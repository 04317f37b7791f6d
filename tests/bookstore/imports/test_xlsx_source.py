"""Workbooks: cells are read as typed, and ZIP bombs are refused within seconds."""

import io
import resource
import time
import zipfile
from datetime import date

import pytest
import xlsxwriter

from bookstore.errors import Invalid
from bookstore.imports.entries import BookEntry, Refusal
from bookstore.imports.formats import Options, open_source

HEADER = ["isbn", "title", "authors", "price", "stock", "year"]
SHEET = "xl/worksheets/sheet1.xml"


def workbook(rows, *, more=(), hidden=False):
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"in_memory": True, "strings_to_formulas": False})
    sheet = book.add_worksheet("Books")
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            if isinstance(cell, str):
                sheet.write_string(number, column, cell)
            elif cell is not None:
                sheet.write(number, column, cell)
    for name in more:
        other = book.add_worksheet(name)
        if hidden:
            other.hide()
    book.close()
    return file.getvalue()


def repacked(content, **replaced):
    """The archive with replaced parts, at maximum compression."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as before,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as after,
    ):
        for name in before.namelist():
            with after.open(name, "w", force_zip64=True) as part:
                if name in replaced:
                    for piece in replaced[name]:
                        part.write(piece)
                else:
                    part.write(before.read(name))
    return file.getvalue()


def read(content, tmp_path, **options):
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("rb") as file:
        source = open_source(
            file, Options(**options), currency="EUR", country="DE", today=date(2026, 3, 21)
        )
        try:
            return source, list(source)
        finally:
            source.close()


def test_cells_are_read_as_a_user_would_type_them(tmp_path):
    rows = [
        [],
        HEADER,
        [9780441172719, "=1+1", "Frank Herbert", 12.9, 5, -350],
        ["0441172717", 1984, "三体 🚀\n二", 4.35 * 3, True, "1965"],
        [None] * 6,
        ["x", "", "", "", "", None, "too many"],
    ]

    source, entries = read(workbook(rows, more=["Notes"]), tmp_path)

    first, second, third = entries
    assert first.facts == {
        "isbn13": "9780441172719",
        "title": "=1+1",
        "authors": first.facts["authors"],
        "price_cents": 1290,
        "stock": 5,
        "year": -350,
    }
    assert isinstance(second, Refusal)
    assert (second.line, second.column, second.value) == (4, "stock", "TRUE")
    assert isinstance(third, Refusal)
    assert third.line == 6
    assert source.findings["format"] == "xlsx"
    assert "Not read: 'Notes'." in source.findings["rules"]


def test_a_price_is_rounded_to_the_precision_of_a_workbook(tmp_path):
    (entry,) = read(workbook([HEADER, ["1", "a", "b", 4.35 * 3, 1, 1]]), tmp_path)[1]

    assert isinstance(entry, BookEntry)
    assert entry.facts["price_cents"] == 1305


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (workbook([]), "empty"),
        (workbook([["isbn", "colour"]]), "missing: title, authors, price"),
        (workbook([["x"] * 5000]), "5,000 columns; 200 are allowed"),
        (workbook([HEADER])[:-200], "damaged"),
        (repacked(workbook([HEADER]), **{SHEET: [b"<worksheet><sheetData>"]}), "damaged"),
        (repacked(workbook([HEADER]), **{"xl/workbook.xml": [b"no XML"]}), "damaged"),
    ],
)
def test_an_unreadable_workbook_is_refused(content, reason, tmp_path):
    with pytest.raises(Invalid, match=reason):
        read(content, tmp_path)


def test_an_entity_bomb_is_not_expanded(tmp_path):
    bomb = b"<!DOCTYPE w [<!ENTITY a 'xxxxxxxxxx'>" + b"".join(
        b"<!ENTITY %c '&%c;&%c;&%c;&%c;'>" % (98 + n, *[97 + n] * 4) for n in range(24)
    )
    sheet = [bomb + b"]><worksheet><sheetData>&y;</sheetData></worksheet>"]

    with pytest.raises(Invalid, match=r"damaged|empty"):
        read(repacked(workbook([HEADER]), **{SHEET: sheet}), tmp_path)


def test_other_archives_are_named_in_the_error(tmp_path):
    for part, what in (("mimetype", "OpenDocument"), ("word/document.xml", "text document")):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(part, "x")

        with pytest.raises(Invalid, match=what):
            read(file.getvalue(), tmp_path)


ROW = b'<row r="%d"><c r="A%d" t="inlineStr"><is><t>' + b"x" * 1000 + b"</t></is></c></row>"
START = (
    b'<?xml version="1.0"?><worksheet'
    b' xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
)
END = b"</sheetData></worksheet>"


def three_hundred_megabytes():
    yield START
    for number in range(300_000):
        yield ROW % (number + 1, number + 1)
    yield END


def with_a_false_size():
    """An archive whose directory declares a size of a few bytes for the sheet."""
    content = bytearray(repacked(workbook([HEADER]), **{SHEET: three_hundred_megabytes()}))
    offset = content.rfind(b"PK\x01\x02", 0, content.rfind(SHEET.encode()))
    content[offset + 24 : offset + 28] = (5000).to_bytes(4, "little")
    return bytes(content)


def a_billion_cells():
    yield START
    yield b'<row r="1"><c r="A1"><v>1</v></c></row>'
    yield b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>' + END


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            lambda: repacked(workbook([HEADER]), **{SHEET: three_hundred_megabytes()}), id="300 MB"
        ),
        pytest.param(with_a_false_size, id="false size"),
        pytest.param(
            lambda: repacked(workbook([HEADER]), **{SHEET: a_billion_cells()}), id="columns"
        ),
    ],
)
def test_a_zip_bomb_is_refused_within_seconds_and_little_memory(content, tmp_path):
    packed = content()
    assert len(packed) < 4_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()

    with pytest.raises(Invalid, match=r"too large|damaged"):
        read(packed, tmp_path)

    assert time.monotonic() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
