"""CSV files: encodings, dialects, malformed rows and the preview."""

import gzip
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.catalogue import books
from bookstore.catalogue.books import BookQuery
from bookstore.database import file_store
from bookstore.database.engine import reading
from bookstore.imports import importer
from bookstore.imports.columns import match_column
from bookstore.imports.formats import Options
from bookstore.tasks.jobs import JobState
from tests import goodbooks
from tests.bookstore.imports.lists import DUNE, EMMA, HEADER, LATER, book, counts, refusals_of, run
from tests.factories import NOON


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
async def test_the_report_names_the_encoding_of_the_file(
    engine: AsyncEngine, encoding: str
) -> None:
    job = await run(engine, (HEADER + DUNE.replace("Dune", "Dünen – été")).encode(encoding))

    assert counts(job) == (1, 1, 0, 0, 0)
    assert (await book(engine, "0441172717")).title == "Dünen – été"
    assert job.findings["encoding"] in job.findings["rules"][0]


async def test_applied_rules_are_reported_with_their_first_line(engine: AsyncEngine) -> None:
    job = await run(
        engine,
        "ISBN-13;Titel;Autor;Preis (EUR);Farbe;Farbe\n"
        '0441172717;Dune;Herbert, Frank;"12,90";rot;\n'
        "9780141439587;'=Emma;Jane Austen (translator);7.50;;\n",
    )

    assert counts(job) == (2, 2, 0, 0, 0)
    assert job.findings["separator"] == "semicolon"
    assert job.findings["columns"] == {
        "isbn": "ISBN-13",
        "title": "Titel",
        "authors": "Autor",
        "price": "Preis (EUR)",
    }
    assert job.findings["rules"][1:] == [
        "A comma before the last digits is the decimal separator. (1 row, first in line 2)",
        "A comma is part of a name; authors are separated by ; or |. (1 row, first in line 2)",
        "A point before the last digits is the decimal separator. (1 row, first in line 3)",
        "The apostrophe before a possible formula is removed. (1 row, first in line 3)",
        "The role of an author is read from the brackets after the name. (1 row, first in line 3)",
    ]
    emma = await book(engine, "9780141439587")
    assert (emma.title, emma.authors[0].role) == ("=Emma", "translator")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("0441172717,Du\0ne,F,1,EUR,1,1,en,x\n", "control character (U+0000)"),
        ("0441172717,\u200b\u3164,F,1,EUR,1,1,en,x\n", "blank"),
        (f"0441172717,{'x' * 10_000_000},F,1,EUR,1,1,en,x\n", "too long"),
        (f'0441172717,"{"x" * 10_000_000}",F,1,EUR,1,1,en,x\n', "too long"),
        ('0441172717,"' + "line\n" * 50 + "\n", "never closed"),
        ("0441172717" + "," * 5000 + "\n", "9 cells"),
    ],
)
async def test_a_malformed_row_is_refused_and_the_next_row_is_read(
    engine: AsyncEngine, bad: str, reason: str
) -> None:
    job = await run(engine, HEADER + bad + EMMA)

    assert (job.state, job.created) == (JobState.DONE, 1)
    first = (await refusals_of(engine, job))[0]
    assert first.line == 2
    assert reason in (first.reason or "") or first.column == "title"


@pytest.mark.parametrize("opening", ["(", "[", "([", "(]", "a ("])
async def test_a_header_of_opening_brackets_is_refused_at_once(
    engine: AsyncEngine, opening: str
) -> None:
    started = time.process_time()
    job = await run(engine, opening * (60_000 // len(opening)) + "\n" + DUNE)

    assert job.state is JobState.FAILED
    assert "these are missing: isbn" in (job.error or "")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", ["Preis (inkl. MwSt (7%))", "Preis [EUR] (netto)", "(Preis"])
def test_brackets_in_the_name_of_a_column_are_ignored(name: str) -> None:
    assert match_column(name) == "price"


async def test_a_file_can_be_previewed_before_its_import(engine: AsyncEngine) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield ("EAN;Name;Autor;Preis\n" + "0441172717;Dune;F;1,00\n" * 20).encode()

    file = await file_store.store(
        engine, pieces(), name="a.csv", media_type="text/csv", kind="import", now=NOON
    )

    async def preview(**mapping: str) -> importer.Preview:
        options = Options(mapping=mapping)
        return await importer.preview(
            engine, file.id, currency="EUR", country="DE", options=options, now=NOON
        )

    before, after = await preview(), await preview(title="name")

    assert before.header == ["EAN", "Name", "Autor", "Preis"]
    assert before.rows == [["0441172717", "Dune", "F", "1,00"]] * 10
    assert before.error is None
    assert any("no column for title: the list changes" in it for it in before.findings["rules"])
    assert before.findings["columns"]["isbn"] == "EAN"
    assert (await preview(isbn="")).error == "These columns are missing: isbn."
    assert (after.error, after.findings["columns"]["title"]) == (None, "Name")
    assert "no column 'x'" in ((await preview(title="x")).error or "")


# Real data, if present


async def test_real_books_with_errors_are_imported(engine: AsyncEngine) -> None:
    text = "".join(goodbooks.text().splitlines(keepends=True)[:1501])

    first = await run(engine, text)
    second = await run(engine, text, now=LATER)

    assert first.read == second.read == 1500
    assert first.created == second.unchanged
    assert first.refused == second.refused > 0
    assert {refusal.column for refusal in await refusals_of(engine, first)} == {"isbn"}
    async with reading(engine) as conn:
        rings = (await books.find(conn, BookQuery(q="tolkien ring"))).items
        hunger = (await books.find(conn, BookQuery(q="978-0-439-02348-1"))).items
    assert any("Fellowship" in found.title for found in rings)
    assert [found.title for found in hunger] == ["The Hunger Games (The Hunger Games, #1)"]


async def test_isbns_that_a_spreadsheet_has_rounded_are_refused(
    engine: AsyncEngine,
) -> None:
    raw = goodbooks.FILE.with_name("goodbooks-raw-first-100.csv")
    if not raw.exists():
        pytest.skip(f"{raw.name} is not present")
    with raw.open(encoding="utf-8", newline="") as file:
        text = file.read().replace("isbn,isbn13,", "number,isbn,", 1)
    text = text.replace("average_rating", "price", 1)

    report = await run(engine, text)

    assert report.read == report.refused > 90
    reasons = [line.reason for line in await refusals_of(engine, report) if line.value]
    assert reasons
    assert all("spreadsheet has rounded" in (reason or "") for reason in reasons)
    assert "number" in report.findings["ignored_columns"]


def test_prices_and_stock_depend_on_the_seed() -> None:
    if not goodbooks.FILE.exists():
        pytest.skip(f"{goodbooks.FILE.name} is not present")
    assert next(goodbooks.rows(1)) == next(goodbooks.rows(1)) != next(goodbooks.rows(2))
    with gzip.open(goodbooks.FILE) as file:
        assert sum(1 for _ in goodbooks.rows()) == 10_000
        assert file.readline().startswith(b"book_id")
