"""Exports: they round-trip through the import, and no cell is a formula."""

import csv
import io
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.catalogue import authors, names
from bookstore.catalogue import books as catalogue
from bookstore.catalogue.validation import ROLES
from bookstore.database import engine as db
from bookstore.database.tables import books as book_rows
from bookstore.database.tables import files
from bookstore.exports import exporter as exports
from bookstore.exports.exporter import Format
from bookstore.imports import importer
from bookstore.imports.columns import COLUMNS, match_column
from bookstore.imports.formats import Options
from bookstore.tasks import jobs
from bookstore.tasks.job_runner import JobRunner
from bookstore.tasks.jobs import Job, JobKind, JobState
from tests.factories import NOON, add_book, add_order, create_book, isbn13_of

HEADER = "isbn,title,authors,price,stock\n"
#: Texts with characters that have a meaning in a list.
SIGNS = ["=1+1", "'=x", "''@a", "+49", "-", '"', "a;b", "c|d", "e\\f", ",", "(editor)"]
SAME = (
    "title",
    "subtitle",
    "publisher",
    "year",
    "language",
    "description",
    "pages",
    "format",
    "price_cents",
    "stock",
)
#: Encodings that are detected and can represent every character.
DETECTED = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]
#: Encodings of a limited character set, which the sender has to name.
NAMED = ["windows-1250", "windows-1251", "windows-1252", "iso-8859-2", "shift_jis", "gb18030"]


@cache
def lines(encoding: str) -> st.SearchStrategy[str]:
    """Text of visible characters in every script that the encoding has."""
    characters = st.characters(
        codec=encoding,
        exclude_categories=["Cc", "Cs", "Cf", "Cn", "Co", "Zs", "Zl", "Zp", "M"],
        # These are invisible, or Shift JIS does not round-trip them.
        exclude_characters="\u115f\u1160\u2800\u3164\uffa0\ufffd\xa5\u203e",
    )
    words = st.one_of(st.text(characters, min_size=1, max_size=12), st.sampled_from(SIGNS))
    return st.lists(words, min_size=1, max_size=4).map(" ".join)


@st.composite
def books(draw: Any, encoding: str) -> dict[str, Any]:
    """The facts of a book, without its ISBN."""
    line = lines(encoding)
    people = st.tuples(line, st.sampled_from(["author", *ROLES]))
    facts = {
        "title": draw(line),
        "authors": draw(st.lists(people, min_size=1, max_size=3)),
        "price_cents": draw(st.integers(0, 10_000_000)),
        "stock": draw(st.integers(0, 1_000_000)),
    }
    optional = {
        "subtitle": line,
        "publisher": line,
        "year": st.integers(-3000, 2031),
        "language": st.sampled_from(["en", "pt-BR", "zh-Hant", "de"]),
        "categories": st.lists(line, min_size=1, max_size=3),
        "description": line.map(lambda text: re.sub("[&<>]", "", text).strip() or "x"),
        "pages": st.integers(1, 100_000),
        "format": st.sampled_from(["paperback", "hardback"]),
    }
    return facts | {name: draw(kind) for name, kind in optional.items() if draw(st.booleans())}


def cells(facts: Mapping[str, Any]) -> dict[str, str]:
    """The cells of a row with these facts."""
    euros, cents = divmod(facts["price_cents"], 100)
    people = [exports._author(name, role) for name, role in facts["authors"]]
    row = {
        "authors": "; ".join(people),
        "price": f"{euros}.{cents:02}",
        "category": "|".join(map(exports._escaped, facts.get("categories", []))),
    }
    row |= {name: str(facts[name]) for name in COLUMNS if name in facts and name not in row}
    return {name: exports.escape_formula(row.get(name, "")) for name in COLUMNS}


def expected_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as the store returns them: each person once in each role, in any spelling."""
    people = ((authors.key(" ".join(name.split())), role) for name, role in facts["authors"])
    stored = {name: facts.get(name) for name in SAME} | {
        "authors": [*dict.fromkeys(people)],
        "categories": {names.identity(name) for name in facts.get("categories", [])},
    }
    return {name: _normal(value) for name, value in stored.items()}


def _normal(value: Any) -> Any:
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


@st.composite
def dialects(draw: Any) -> Mapping[str, Any]:
    return {
        "delimiter": draw(st.sampled_from(",;\t|")),
        "lineterminator": draw(st.sampled_from(["\n", "\r\n", "\r"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    }


async def import_list(engine: AsyncEngine, content: bytes, **options: Any) -> Job:
    return await importer.import_file(
        engine,
        io.BytesIO(content),
        name="books",
        currency="EUR",
        country="DE",
        options=Options(**options),
        clock=lambda: NOON,
    )


async def exported(engine: AsyncEngine, kind: JobKind, chosen: Format) -> bytes:
    file = io.BytesIO()
    await exports.write(engine, exports.SOURCES[kind], chosen, file, currency="EUR")
    return file.getvalue()


async def stored_facts(engine: AsyncEngine, isbn: str) -> dict[str, Any]:
    async with db.reading(engine) as conn:
        book = await catalogue.by_isbn(conn, isbn)
    return {name: getattr(book, name) for name in SAME} | {
        "authors": [(authors.key(person.name), person.role) for person in book.authors],
        "categories": {names.identity(category.name) for category in book.categories},
    }


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    encoding=st.sampled_from(DETECTED + NAMED),
    data=st.data(),
    dialect=dialects(),
    order=st.permutations(COLUMNS),
    headers=st.sampled_from([str.lower, str.upper, str.title]),
)
async def test_an_exported_list_is_imported_without_changes(
    engine: AsyncEngine, encoding: str, data: Any, dialect: Any, order: Any, headers: Any
) -> None:
    async with db.transaction(engine) as conn:
        # Withdraw the books of earlier examples, so that exports do not grow with each example.
        await conn.execute(update(book_rows).values(withdrawn_at=NOON))
    rows = data.draw(st.lists(books(encoding), min_size=1, max_size=6))
    rows_by_isbn = {isbn13_of(next(_numbers)): row for row in rows}
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, order, **dialect)
    writer.writerow({name: headers(name) for name in order})
    for number, facts in rows_by_isbn.items():
        writer.writerow({**cells(facts), "isbn": number})

    named = encoding if encoding in NAMED else None
    job = await import_list(engine, file.getvalue().encode(encoding), encoding=named)

    assert (job.state, job.refused, job.created) == (JobState.DONE, 0, len(rows)), job
    for number, facts in rows_by_isbn.items():
        assert await stored_facts(engine, number) == expected_facts(facts)
    for chosen in Format:
        again = await import_list(engine, await exported(engine, JobKind.EXPORT_BOOKS, chosen))
        assert (again.state, again.unchanged) == (JobState.DONE, again.read), again
        assert again.read == len(rows)


_numbers = iter(range(1, 100_000))


async def test_s25_no_cell_is_a_formula(engine: AsyncEngine) -> None:
    hostile = ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(A1)", "=HYPERLINK(1)", "'=1"]
    async with db.transaction(engine) as conn:
        for text in hostile:
            book = await create_book(
                conn, title=text, subtitle=text, authors=[text], publisher=text, year=-350
            )
            await add_order(conn, {book.id: 1}, email="=1@example.com", tracking=text, note=text)

    for kind in (JobKind.EXPORT_BOOKS, JobKind.EXPORT_ORDERS):
        text = (await exported(engine, kind, Format.CSV)).decode()
        cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        content = await exported(engine, kind, Format.XLSX)
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0)
        shown = [cell for row in sheet.to_python() for cell in row if isinstance(cell, str)]
        assert not [cell for cell in shown if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\0", "'=", "''@"])
def test_s25_a_text_that_starts_like_a_formula_is_escaped_and_stays_one_cell(sign: str) -> None:
    text = f'{sign}1,"a"\nb'
    file = io.StringIO(newline="")
    csv.writer(file).writerow([exports.escape_formula(text), "c"])

    [[cell, after]] = csv.reader(io.StringIO(file.getvalue(), newline=""))

    assert (cell, after) == (f"'{text}", "c")


async def test_an_order_has_a_row_for_each_book(engine: AsyncEngine) -> None:
    async with db.transaction(engine) as conn:
        dune, emma = await add_book(conn, price_cents=1290), await add_book(conn, title="Emma")
        await add_order(conn, {dune: 2, emma: 1}, number="AAAA-BBBB", total_cents=3580)

    text = (await exported(engine, JobKind.EXPORT_ORDERS, Format.CSV)).decode()

    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert (first["number"], first["quantity"], first["line_total"]) == ("AAAA-BBBB", "2", "25.80")
    assert (second["title"], second["unit_price"], second["order_total"]) == (
        "Emma",
        "10.00",
        "35.80",
    )
    assert first["placed_at"] == "2026-03-21T12:00:00Z"
    assert first["city"] == "Hamburg"


@pytest.mark.parametrize("chosen", [*Format])
async def test_exported_orders_have_the_amounts_for_bookkeeping(
    engine: AsyncEngine, chosen: Format
) -> None:
    async with db.transaction(engine) as conn:
        dune, emma = await add_book(conn, price_cents=1290), await add_book(conn)
        facts = {"payment_status": "paid", "tracking": "00340434", "total_cents": 3870}
        await add_order(conn, {dune: 2, emma: 1}, **facts)

    content = await exported(engine, JobKind.EXPORT_ORDERS, chosen)

    if chosen is Format.CSV:
        header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
        amounts = ["2.90", "2.53", "38.70"]
    else:
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0)
        header, *rows = sheet.to_python()
        amounts = [2.9, 2.53, 38.7]
    assert len(rows) == 2
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        assert [cells[name] for name in ("shipping", "tax", "order_total")] == amounts
        payment = (cells["payment_status"], cells["payment_provider"], cells["tracking"])
        assert payment == ("paid", "invoice", "00340434")


async def test_withdrawn_books_are_not_exported(engine: AsyncEngine) -> None:
    async with db.transaction(engine) as conn:
        book = await create_book(conn)
        await catalogue.withdraw(conn, book.id, 1, user_id=None, now=NOON)

    text = (await exported(engine, JobKind.EXPORT_BOOKS, Format.CSV)).decode()
    assert len(text.splitlines()) == 1


async def test_an_empty_store_exports_an_empty_list(engine: AsyncEngine) -> None:
    for chosen in Format:
        again = await import_list(engine, await exported(engine, JobKind.EXPORT_BOOKS, chosen))
        assert (again.state, again.read) == (JobState.DONE, 0)


@pytest.mark.parametrize("chosen", [*Format])
async def test_a_cancelled_export_leaves_no_file(engine: AsyncEngine, chosen: Format) -> None:
    async with db.transaction(engine) as conn:
        await create_book(conn)
        job = await exports.start(conn, JobKind.EXPORT_BOOKS, chosen, user_id=None, now=NOON)

    async def cancel(current: Job) -> None:
        async with db.transaction(engine) as conn:
            await jobs.cancel(conn, current.id, user_id=None, now=NOON)

    exporter = exports.Exporter(engine, currency="EUR", clock=lambda: NOON)
    runner = JobRunner(engine, {JobKind.EXPORT_BOOKS: exporter}, clock=lambda: NOON)
    assert await runner.run(job.id, on_progress=cancel) is False

    async with db.reading(engine) as conn:
        job = await jobs.get(conn, job.id)
        assert (job.state, job.result_id) == (JobState.CANCELLED, None)
        assert await conn.scalar(select(func.count()).select_from(files)) == 0


@pytest.mark.parametrize("column", exports.BOOK_COLUMNS)
def test_an_import_knows_every_column_of_an_export(column):
    for spelling in (column, column.upper(), column.replace("_", " "), f"{column} (x)"):
        assert match_column(spelling) == column
