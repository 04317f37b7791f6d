"""Imports of ONIX messages: complete records, updates, deletions and repeated records."""

import io

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.catalogue import books
from bookstore.database.engine import reading
from bookstore.errors import NotFound
from bookstore.imports import importer
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, JobState, LineOutcome
from tests.bookstore.imports import lists
from tests.bookstore.imports.onix.messages import DETAIL, PRICE, product, run, whole
from tests.bookstore.imports.onix.records import nested, price, supply, territory
from tests.factories import NOON

DUNE, EMMA = "9780441172719", "9780141439587"


async def outcomes(engine: AsyncEngine, job: Job) -> list[LineOutcome]:
    async with reading(engine) as conn:
        return [line.outcome for line in (await jobs.lines(conn, job.id)).items]


async def book(engine: AsyncEngine, isbn: str = DUNE) -> books.Book:
    async with reading(engine) as conn:
        return await books.by_isbn(conn, isbn)


def counts(job: Job) -> tuple[int, int, int, int, int]:
    return job.read, job.created, job.updated, job.unchanged, job.refused


async def test_a_record_becomes_a_book_and_a_line_of_the_report(engine: AsyncEngine) -> None:
    job = await run(engine, whole(DUNE), whole(EMMA, title="Emma"))

    assert (job.state, job.findings["format"]) == (JobState.DONE, "onix")
    assert counts(job) == (2, 2, 0, 0, 0)
    assert await outcomes(engine, job) == [LineOutcome.CREATED, LineOutcome.CREATED]
    dune = await book(engine)
    assert (dune.title, dune.price_cents, dune.language, dune.stock) == ("Dune", 1290, "en", 0)
    assert [(person.name, person.role) for person in dune.authors] == [
        ("Frank Herbert", "author"),
        ("Tara Lator", "translator"),
    ]
    again = await run(engine, whole(DUNE), whole(EMMA, title="Emma"))
    assert counts(again) == (2, 0, 0, 2, 0)


async def test_an_update_changes_only_the_fields_of_its_blocks(engine: AsyncEngine) -> None:
    await run(engine, whole(DUNE))

    job = await run(engine, product(DUNE, "04", PRICE.format(amount="9.90")))

    assert counts(job) == (1, 0, 1, 0, 0)
    dune = await book(engine)
    assert (dune.price_cents, dune.title, dune.description) == (990, "Dune", "Sand.")
    assert len(dune.authors) == 2


async def test_a_complete_record_clears_missing_fields(engine: AsyncEngine) -> None:
    await run(engine, whole(DUNE))

    await run(engine, product(DUNE, "03", DETAIL.format(title="Dune", author="Frank Herbert")))

    dune = await book(engine)
    assert (dune.description, dune.price_cents) == (None, 1290)


async def test_an_update_of_an_unknown_book_is_refused(engine: AsyncEngine) -> None:
    job = await run(engine, product(DUNE, "04", PRICE.format(amount="9.90")))

    async with reading(engine) as conn:
        (line,) = (await jobs.lines(conn, job.id)).items
    assert (line.outcome, line.column) == (LineOutcome.REFUSED, "ProductIdentifier")
    assert "only changes an existing one" in (line.reason or "")


@pytest.mark.parametrize(("country", "cents"), [("DE", 2000), ("AT", 2060)])
async def test_the_country_of_the_store_selects_the_price(
    engine: AsyncEngine, country: str, cents: int
) -> None:
    prices = price("20.00", more=territory("DE")) + price("20.60", more=territory("AT"))
    detail = DETAIL.format(title="Dune", author="Frank Herbert")

    job = await run(engine, product(DUNE, "03", detail, supply(prices)), country=country)

    assert (await book(engine)).price_cents == cents
    assert f"rights for {country} on 2026-03-21" in job.findings["rules"][0]


async def test_an_embargoed_book_keeps_its_date_and_is_not_available(engine: AsyncEngine) -> None:
    date = nested(PublishingDateRole="02", Date="20990310")
    block = f"<PublishingDetail><PublishingDate>{date}</PublishingDate></PublishingDetail>"
    await run(engine, whole(DUNE).replace("<ProductSupply>", f"{block}<ProductSupply>"))
    await lists.run(engine, f"isbn,stock\n{DUNE},5\n")

    dune = await book(engine)

    assert (dune.on_sale_from, dune.stock) == ("2099-03-10", 5)
    assert (dune.forthcoming, dune.available) == (True, False)
    # The publisher ends the embargo.
    sooner = block.replace("20990310", "20200301")
    await run(engine, product(DUNE, "04", sooner))
    assert (await book(engine)).available


async def test_a_deletion_withdraws_a_book_and_never_creates_one(engine: AsyncEngine) -> None:
    await run(engine, whole(DUNE))
    full = DETAIL.format(title="Dune", author="Frank Herbert")

    job = await run(engine, product(DUNE, "05", full), product(EMMA, "05", full))

    assert counts(job) == (2, 0, 1, 1, 0)
    with pytest.raises(NotFound):
        await book(engine)
    with pytest.raises(NotFound):
        await book(engine, EMMA)
    assert counts(await run(engine, product(DUNE, "05"))) == (1, 0, 0, 1, 0)


@pytest.mark.parametrize("between", [0, 250])
async def test_of_several_records_about_a_book_the_last_applies(
    engine: AsyncEngine, between: int
) -> None:
    """Also with more than a batch of records between them, and in a dry run."""
    unknown = [product(EMMA, "04", PRICE.format(amount="1"))] * between
    file = [
        whole(DUNE, title="Old", blurb="Old."),
        *unknown,
        product(DUNE, "04", PRICE.format(amount="7.00")),
        whole(DUNE, title="New", amount="8.00"),
    ]

    dry = await run(engine, *file, dry_run=True)
    job = await run(engine, *file)
    again = await run(engine, *file)

    superseded = max(between - 1, 0)
    assert counts(dry) == counts(job)
    assert (job.created, job.updated, job.unchanged) == (1, 0, 2 + superseded)
    assert (again.created, again.updated) == (0, 0)
    new = await book(engine)
    assert (new.title, new.price_cents, new.version) == ("New", 800, 1)


async def test_a_book_created_and_deleted_in_one_message_is_not_created(
    engine: AsyncEngine,
) -> None:
    job = await run(engine, whole(DUNE), product(DUNE, "05"))

    assert counts(job) == (2, 0, 0, 2, 0)


@pytest.mark.parametrize("encoding", ["klingon", "hex", "undefined", "UTF-16"])
async def test_a_message_that_is_not_in_its_declared_encoding_is_refused(
    engine: AsyncEngine, encoding: str
) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><ONIXMessage release="3.0"/>'

    job = await importer.import_file(
        engine,
        io.BytesIO(text.encode()),
        name="onix.xml",
        currency="EUR",
        country="DE",
        clock=lambda: NOON,
    )

    assert job.state is JobState.FAILED
    assert f"encoding {encoding.lower()}" in (job.error or "")


async def test_a_truncated_message_is_imported_up_to_the_error(engine: AsyncEngine) -> None:
    job = await run(engine, whole(DUNE), "<Product><RecordReference>")

    assert (job.state, job.created, job.refused) == (JobState.DONE, 1, 1)
    async with reading(engine) as conn:
        last = (await jobs.lines(conn, job.id)).items[-1]
    assert "Nothing after this point could be read" in (last.reason or "")
