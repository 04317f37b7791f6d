"""Imports of real lists of books with real errors, if present (see `tests/goodbooks.py`).

The files are third-party data outside of the project.  Nothing of their content is repeated here,
only the number of rows of each outcome.
"""

import gzip
import io
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database import engine as db
from bookstore.imports import importer
from bookstore.imports.formats import Options
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, JobState, LineOutcome
from tests import goodbooks
from tests.factories import NOON

FOLDER = goodbooks.FILE.parent
#: The outcome of ONIX messages with one record each, in a store whose currency the record has no
#: price for.  All others are refused.
MESSAGES = {
    "pl-cancelled-product.xml": LineOutcome.UNCHANGED,
    "pl-deleted-product.xml": LineOutcome.UNCHANGED,
}


@pytest.fixture
async def engine(sqlite_template: Any, tmp_path: Any) -> AsyncIterator[AsyncEngine]:
    """Only SQLite, because these tests are about reading files."""
    path = tmp_path / "bookstore.db"
    path.write_bytes(sqlite_template.read_bytes())
    engine = db.make_engine(f"sqlite+aiosqlite:///{path}", timeout_s=60)
    yield engine
    await engine.dispose()


def content_of(name: str) -> bytes:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not present")
    return path.read_bytes()


async def run(engine: AsyncEngine, content: bytes, currency: str = "EUR", **options: Any) -> Job:
    """Import a file after a dry run with the same counts, and import it again without changes."""
    jobs_made = [
        await importer.import_file(
            engine,
            io.BytesIO(content),
            name="real",
            currency=currency,
            country="DE",
            options=Options(**options),
            dry_run=dry_run,
            clock=lambda: NOON,
        )
        for dry_run in (True, False, False)
    ]
    dry, real, again = jobs_made
    assert counts(dry) == counts(real)
    assert (again.created, again.updated, again.refused) == (0, 0, real.refused)
    return real


def counts(job: Job) -> tuple[int, int, int, int, int]:
    return job.read, job.created, job.updated, job.unchanged, job.refused


async def reasons(engine: AsyncEngine, job: Job) -> Counter[tuple[str | None, str]]:
    """The reasons of refusals with numbers replaced, and their counts."""
    async with db.reading(engine) as conn:
        found = await jobs.lines(conn, job.id, outcome=LineOutcome.REFUSED, limit=100_000)
        lines = found.items
    return Counter((line.column, re.sub("[0-9]+X?", "#", line.reason or "")) for line in lines)


async def test_a_thousand_books_are_imported(engine: AsyncEngine) -> None:
    text = "".join(goodbooks.text().splitlines(keepends=True)[:1001])

    job = await run(engine, text.encode())

    assert counts(job) == (1000, 977, 0, 0, 23)
    assert {column for column, _ in await reasons(engine, job)} == {"isbn"}


async def test_a_thousand_books_with_mapped_columns_are_imported(engine: AsyncEngine) -> None:
    lines = gzip.decompress(content_of("goodbooks.csv.gz")).splitlines(keepends=True)
    content = b"".join(lines[:1001])

    job = await run(engine, content, mapping={"isbn": "isbn13", "price": "average_rating"})

    assert counts(job) == (1000, 977, 0, 0, 23)
    assert {column for column, _ in await reasons(engine, job)} == {"isbn"}


@pytest.mark.parametrize(
    ("isbn", "created", "reason"),
    [
        ("isbn", 16, "This has nine digits. If a leading zero is missing, the ISBN is #."),
        ("isbn13", 0, "A spreadsheet has rounded this number; its last digits are lost."),
    ],
)
async def test_isbns_that_a_spreadsheet_has_changed_are_refused(
    engine: AsyncEngine, isbn: str, created: int, reason: str
) -> None:
    content = content_of("goodbooks-raw-first-100.csv")

    job = await run(engine, content, mapping={"isbn": isbn, "price": "average_rating"})

    assert (job.read, job.created) == (99, created)
    assert (await reasons(engine, job))["isbn", reason] > 70


async def test_other_file_formats_are_named_in_the_error(engine: AsyncEngine) -> None:
    for name, what in (
        ("marc21-ten-records.mrc", "MARC"),
        ("goodbooks.csv.gz", "gzip"),
        ("public-domain/example-opf.xml", "not an ONIX message"),
    ):
        content = content_of(name)
        job = await importer.import_file(
            engine, io.BytesIO(content), name=name, currency="EUR", country="DE", clock=lambda: NOON
        )
        assert (job.state, what in (job.error or "")) == (JobState.FAILED, True), job.error


async def test_every_onix_message_is_imported_or_refused_with_a_reason(engine: AsyncEngine) -> None:
    if not (FOLDER / "onix").exists():
        pytest.skip("the ONIX messages are not present")
    for path in sorted((FOLDER / "onix").iterdir()):
        job = await importer.import_file(
            engine,
            io.BytesIO(path.read_bytes()),
            name=path.name,
            currency="EUR",
            country="DE",
            clock=lambda: NOON,
        )
        if path.name.startswith("onix21-"):
            assert (job.state, job.error) == (
                JobState.FAILED,
                "This is ONIX 2.1; the store reads 3.0 and 3.1.",
            )
            continue
        async with db.reading(engine) as conn:
            lines = (await jobs.lines(conn, job.id)).items
        assert job.state is JobState.DONE
        assert len(lines) == job.read == 1
        outcome = MESSAGES.get(path.name, LineOutcome.REFUSED)
        assert lines[0].outcome is outcome, path.name
        if outcome is LineOutcome.REFUSED:
            assert lines[0].column == "PriceAmount"
            assert "the store does not have the book yet" in (lines[0].reason or "")


async def test_a_record_with_a_price_in_the_store_currency_becomes_a_book(
    engine: AsyncEngine,
) -> None:
    job = await run(engine, content_of("onix/pl-audiobook.xml"), currency="PLN")

    assert counts(job) == (1, 1, 0, 0, 0)
