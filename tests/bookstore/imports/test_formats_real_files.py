"""Real lists of books with real dirt, where they are at hand (see `tests/goodbooks.py`).

They are other people's data and lie outside of the project; what is theirs is not repeated here
but for how many rows of each are taken.
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
from bookstore.tasks.jobs import Job, Outcome, State
from tests import goodbooks
from tests.factories import NOON

FOLDER = goodbooks.FILE.parent
#: ONIX messages: their name, and what becomes of their one record in a store without a price
#: for it.  Those in 2.1 are refused as a whole.
MESSAGES = {
    "pl-cancelled-product.xml": Outcome.UNCHANGED,
    "pl-deleted-product.xml": Outcome.UNCHANGED,
}


@pytest.fixture
async def engine(sqlite_template: Any, tmp_path: Any) -> AsyncIterator[AsyncEngine]:
    """SQLite alone: what is looked at here is how files are read."""
    path = tmp_path / "bookstore.db"
    path.write_bytes(sqlite_template.read_bytes())
    engine = db.make_engine(f"sqlite+aiosqlite:///{path}", timeout_s=60)
    yield engine
    await engine.dispose()


def content_of(name: str) -> bytes:
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path.read_bytes()


async def run(engine: AsyncEngine, content: bytes, currency: str = "EUR", **options: Any) -> Job:
    """Import it, and once more; a dry run before says the same."""
    jobs_made = [
        await importer.take_in(
            engine,
            io.BytesIO(content),
            name="real",
            currency=currency,
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
    """Why rows were refused, numbers left out."""
    async with db.reading(engine) as conn:
        lines = await jobs.lines(conn, job.id, outcome=Outcome.REFUSED, limit=100_000)
    return Counter((line.column, re.sub("[0-9]+X?", "#", line.reason or "")) for line in lines)


async def test_a_thousand_books(engine: AsyncEngine) -> None:
    text = "".join(goodbooks.text().splitlines(keepends=True)[:1001])

    job = await run(engine, text.encode())

    assert counts(job) == (1000, 977, 0, 0, 23)
    assert {column for column, _ in await reasons(engine, job)} == {"isbn"}


async def test_a_thousand_books_with_the_columns_of_their_source(engine: AsyncEngine) -> None:
    lines = gzip.decompress(content_of("goodbooks.csv.gz")).splitlines(keepends=True)
    content = b"".join(lines[:1001])

    job = await run(engine, content, mapping={"isbn": "isbn13", "price": "average_rating"})

    assert counts(job) == (1000, 977, 0, 0, 23)
    assert {column for column, _ in await reasons(engine, job)} == {"isbn"}


@pytest.mark.parametrize(
    ("isbn", "created", "reason"),
    [
        ("isbn", 16, "This has nine digits; if the leading zero is lost, it is #."),
        ("isbn13", 0, "A spreadsheet has rounded this number; its last digits are lost."),
    ],
)
async def test_a_hundred_rows_that_a_spreadsheet_has_been_at(
    engine: AsyncEngine, isbn: str, created: int, reason: str
) -> None:
    content = content_of("goodbooks-raw-first-100.csv")

    job = await run(engine, content, mapping={"isbn": isbn, "price": "average_rating"})

    assert (job.read, job.created) == (99, created)
    assert (await reasons(engine, job))["isbn", reason] > 70


async def test_what_is_no_list_of_books_is_called_by_its_name(engine: AsyncEngine) -> None:
    for name, what in (
        ("marc21-ten-records.mrc", "MARC"),
        ("goodbooks.csv.gz", "gzip"),
        ("public-domain/example-opf.xml", "no ONIX message"),
    ):
        content = content_of(name)
        job = await importer.take_in(
            engine, io.BytesIO(content), name=name, currency="EUR", clock=lambda: NOON
        )
        assert (job.state, what in (job.error or "")) == (State.FAILED, True), job.error


async def test_every_onix_message_is_taken_or_refused_in_plain_words(engine: AsyncEngine) -> None:
    if not (FOLDER / "onix").exists():
        pytest.skip("the ONIX messages are not here")
    for path in sorted((FOLDER / "onix").iterdir()):
        job = await importer.take_in(
            engine,
            io.BytesIO(path.read_bytes()),
            name=path.name,
            currency="EUR",
            clock=lambda: NOON,
        )
        if path.name.startswith("onix21-"):
            assert (job.state, job.error) == (
                State.FAILED,
                "This is ONIX 2.1; the store reads 3.0 and 3.1.",
            )
            continue
        async with db.reading(engine) as conn:
            lines = await jobs.lines(conn, job.id)
        assert job.state is State.DONE
        assert len(lines) == job.read == 1
        outcome = MESSAGES.get(path.name, Outcome.REFUSED)
        assert lines[0].outcome is outcome, path.name
        if outcome is Outcome.REFUSED:
            assert lines[0].column == "PriceAmount"
            assert "the store does not have the book yet" in (lines[0].reason or "")


async def test_a_message_with_a_price_in_the_stores_currency_becomes_a_book(
    engine: AsyncEngine,
) -> None:
    job = await run(engine, content_of("onix/pl-audiobook.xml"), currency="PLN")

    assert counts(job) == (1, 1, 0, 0, 0)
