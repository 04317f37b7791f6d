"""ONIX messages through the engine: replaced, changed in part, withdrawn, repeated."""

import io
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.catalogue import books
from bookstore.database.engine import reading
from bookstore.errors import NotFound
from bookstore.imports import importer
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, Outcome, State
from tests.factories import NOON

DUNE, EMMA = "9780441172719", "9780141439587"
DETAIL = """
<DescriptiveDetail><ProductForm>BC</ProductForm>
<TitleDetail><TitleType>01</TitleType><TitleElement><TitleElementLevel>01</TitleElementLevel>
<TitleText>{title}</TitleText></TitleElement></TitleDetail>
<Contributor><SequenceNumber>1</SequenceNumber><ContributorRole>A01</ContributorRole>
<PersonName>{author}</PersonName></Contributor>
<Contributor><SequenceNumber>2</SequenceNumber><ContributorRole>B06</ContributorRole>
<PersonName>Tara Lator</PersonName></Contributor>
<Language><LanguageRole>01</LanguageRole><LanguageCode>eng</LanguageCode></Language>
</DescriptiveDetail>"""
BLURB = """<CollateralDetail><TextContent>
<TextType>03</TextType><ContentAudience>00</ContentAudience>
<Text>{text}</Text></TextContent></CollateralDetail>"""
PRICE = """<ProductSupply><SupplyDetail><Supplier><SupplierRole>01</SupplierRole></Supplier>
<ProductAvailability>20</ProductAvailability><Price><PriceType>02</PriceType>
<PriceAmount>{amount}</PriceAmount><CurrencyCode>EUR</CurrencyCode></Price></SupplyDetail>
</ProductSupply>"""


def product(isbn: str, kind: str, *blocks: str) -> str:
    return (
        f"<Product><RecordReference>r.{isbn}</RecordReference>"
        f"<NotificationType>{kind}</NotificationType><ProductIdentifier>"
        f"<ProductIDType>15</ProductIDType><IDValue>{isbn}</IDValue></ProductIdentifier>"
        f"{''.join(blocks)}</Product>\n"
    )


def whole(isbn: str, *, title: str = "Dune", amount: str = "12.90", blurb: str = "Sand.") -> str:
    detail = DETAIL.format(title=title, author="Frank Herbert")
    return product(isbn, "03", detail, BLURB.format(text=blurb), PRICE.format(amount=amount))


async def run(engine: AsyncEngine, *products: str, **options: Any) -> Job:
    text = (
        '<?xml version="1.0"?>\n'
        '<ONIXMessage release="3.0" xmlns="http://ns.editeur.org/onix/3.0/reference">'
        "<Header><Sender><SenderName>S</SenderName></Sender>"
        f"<SentDateTime>20260101</SentDateTime></Header>\n{''.join(products)}</ONIXMessage>"
    )
    return await importer.take_in(
        engine,
        io.BytesIO(text.encode()),
        name="onix.xml",
        currency="EUR",
        clock=lambda: NOON,
        **options,
    )


async def outcomes(engine: AsyncEngine, job: Job) -> list[Outcome]:
    async with reading(engine) as conn:
        return [line.outcome for line in await jobs.lines(conn, job.id)]


async def book(engine: AsyncEngine, isbn: str = DUNE) -> books.Book:
    async with reading(engine) as conn:
        return await books.by_isbn(conn, isbn)


def counts(job: Job) -> tuple[int, int, int, int, int]:
    return job.read, job.created, job.updated, job.unchanged, job.refused


async def test_a_record_becomes_a_book_and_a_line_of_the_report(engine: AsyncEngine) -> None:
    job = await run(engine, whole(DUNE), whole(EMMA, title="Emma"))

    assert (job.state, job.findings["format"]) == (State.DONE, "onix")
    assert counts(job) == (2, 2, 0, 0, 0)
    assert await outcomes(engine, job) == [Outcome.CREATED, Outcome.CREATED]
    dune = await book(engine)
    assert (dune.title, dune.price_cents, dune.language, dune.stock) == ("Dune", 1290, "en", 0)
    assert [(person.name, person.role) for person in dune.authors] == [
        ("Frank Herbert", "author"),
        ("Tara Lator", "translator"),
    ]
    again = await run(engine, whole(DUNE), whole(EMMA, title="Emma"))
    assert counts(again) == (2, 0, 0, 2, 0)


async def test_a_record_of_a_block_changes_only_what_is_in_it(engine: AsyncEngine) -> None:
    await run(engine, whole(DUNE))

    job = await run(engine, product(DUNE, "04", PRICE.format(amount="9.90")))

    assert counts(job) == (1, 0, 1, 0, 0)
    dune = await book(engine)
    assert (dune.price_cents, dune.title, dune.description) == (990, "Dune", "Sand.")
    assert len(dune.authors) == 2


async def test_a_whole_record_takes_away_what_it_does_not_say(engine: AsyncEngine) -> None:
    await run(engine, whole(DUNE))

    await run(engine, product(DUNE, "03", DETAIL.format(title="Dune", author="Frank Herbert")))

    dune = await book(engine)
    assert (dune.description, dune.price_cents) == (None, 1290)


async def test_a_part_of_a_book_that_is_not_there_is_refused(engine: AsyncEngine) -> None:
    job = await run(engine, product(DUNE, "04", PRICE.format(amount="9.90")))

    async with reading(engine) as conn:
        (line,) = await jobs.lines(conn, job.id)
    assert (line.outcome, line.column) == (Outcome.REFUSED, "ProductIdentifier")
    assert "only changes one" in (line.reason or "")


async def test_a_book_that_is_deleted_is_withdrawn_and_never_made(engine: AsyncEngine) -> None:
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
async def test_of_several_records_about_a_book_the_later_is_right(
    engine: AsyncEngine, between: int
) -> None:
    """Also when more than a batch lies between them, and in a dry run."""
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


async def test_a_book_that_comes_and_goes_in_one_message_is_not_made(engine: AsyncEngine) -> None:
    job = await run(engine, whole(DUNE), product(DUNE, "05"))

    assert counts(job) == (2, 0, 0, 2, 0)


@pytest.mark.parametrize("encoding", ["klingon", "hex", "undefined", "UTF-16"])
async def test_a_message_that_is_not_in_its_encoding_is_refused_by_name(
    engine: AsyncEngine, encoding: str
) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><ONIXMessage release="3.0"/>'

    job = await importer.take_in(
        engine, io.BytesIO(text.encode()), name="onix.xml", currency="EUR", clock=lambda: NOON
    )

    assert job.state is State.FAILED
    assert f"it is in {encoding.lower()}" in (job.error or "")


async def test_a_message_that_breaks_off_is_taken_as_far_as_it_goes(engine: AsyncEngine) -> None:
    job = await run(engine, whole(DUNE), "<Product><RecordReference>")

    assert (job.state, job.created, job.refused) == (State.DONE, 1, 1)
    async with reading(engine) as conn:
        last = (await jobs.lines(conn, job.id))[-1]
    assert "Nothing after this could be read" in (last.reason or "")
