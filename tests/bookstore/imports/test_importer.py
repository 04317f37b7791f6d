"""Imports: rows of a file become books or are refused with a reason."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.catalogue import books, categories, stock
from bookstore.catalogue.books import BookQuery
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import audit_log, book_stock, stock_movements
from bookstore.imports import importer
from bookstore.tasks.jobs import Job, JobLine, JobState
from tests.bookstore.imports.lists import DUNE, EMMA, HEADER, LATER, book, counts, refusals_of, run
from tests.factories import NOON, create_book


async def refusals(engine: AsyncEngine, *rows: str, header: str = HEADER) -> list[JobLine]:
    job = await run(engine, header + "".join(rows))
    found = await refusals_of(engine, job)
    assert (job.state, job.refused) == (JobState.DONE, len(found))
    return found


async def count(engine: AsyncEngine, table: Any) -> int:
    async with reading(engine) as conn:
        return await conn.scalar(select(func.count()).select_from(table)) or 0


async def test_rows_become_books(engine: AsyncEngine) -> None:
    report = await run(engine, HEADER + DUNE + EMMA)

    assert counts(report) == (2, 2, 0, 0, 0)
    dune = await book(engine, "9780441172719")
    assert (dune.title, dune.price_cents, dune.stock, dune.year) == ("Dune", 1290, 5, 1965)
    assert (dune.language, dune.version, dune.created_at) == ("en", 1, NOON)
    assert [(person.name, person.role) for person in dune.authors] == [("Frank Herbert", "author")]
    assert [category.name for category in dune.categories] == ["Science Fiction", "Classics"]
    async with reading(engine) as conn:
        (received,) = (await stock.movements(conn, dune.id)).items
        assert (received.delta, received.reason) == (5, "received")
        found = await books.find(conn, BookQuery(q="herbert dun"))
        assert [found_book.id for found_book in found.items] == [dune.id]


async def test_a_second_run_changes_nothing(engine: AsyncEngine) -> None:
    await run(engine, HEADER + DUNE + EMMA)
    before = await book(engine, "9780441172719")
    rows = await count(engine, audit_log), await count(engine, stock_movements)

    report = await run(engine, HEADER + DUNE + EMMA, now=LATER)

    assert counts(report) == (2, 0, 0, 2, 0)
    assert await book(engine, "9780441172719") == before
    assert (await count(engine, audit_log), await count(engine, stock_movements)) == rows


async def test_a_changed_row_updates_its_book_and_the_audit_log(engine: AsyncEngine) -> None:
    await run(engine, HEADER + DUNE + EMMA)

    report = await run(
        engine,
        HEADER + DUNE.replace("12.90", "9,90").replace("9,90", '"9,90"').replace(",5,", ",3,"),
        now=LATER,
    )

    assert counts(report) == (1, 0, 1, 0, 0)
    dune = await book(engine, "9780441172719")
    assert (dune.price_cents, dune.stock, dune.version, dune.updated_at) == (990, 3, 2, LATER)
    async with reading(engine) as conn:
        counted = (await stock.movements(conn, dune.id)).items[0]
        assert (counted.delta, counted.reason) == (-2, "count")
        changes = await conn.scalar(
            select(audit_log.c.changes).order_by(audit_log.c.id.desc()).limit(1)
        )
    assert changes == {"price_cents": [1290, 990]}


async def test_a_list_without_titles_only_changes_existing_books(engine: AsyncEngine) -> None:
    await run(engine, HEADER + DUNE)
    before = await book(engine, "9780441172719")

    report = await run(
        engine, "isbn;price\n0441172717;9,90\n9780141439587;7,50\n9780141439587x;1\n", now=LATER
    )

    assert counts(report) == (3, 0, 1, 0, 2)
    assert any("no column for title, authors:" in it for it in report.findings["rules"])
    unknown, broken = await refusals_of(engine, report)
    assert (unknown.column, broken.column) == ("title", "isbn")
    assert "the store does not have the book yet" in (unknown.reason or "")
    dune = await book(engine, "9780441172719")
    assert dune.price_cents == 990
    assert (dune.title, dune.authors, dune.stock) == (before.title, before.authors, before.stock)


async def test_a_change_of_stock_only_keeps_the_version(engine: AsyncEngine) -> None:
    await run(engine, HEADER + DUNE)

    report = await run(engine, HEADER + DUNE.replace(",5,", ",0,"), now=LATER)

    assert counts(report) == (1, 0, 1, 0, 0)
    dune = await book(engine, "9780441172719")
    assert (dune.stock, dune.version) == (0, 1)


async def test_fields_that_the_file_does_not_set_keep_their_values(engine: AsyncEngine) -> None:
    await run(engine, HEADER + DUNE)

    await run(engine, HEADER + "0441172717,Dune!,Frank Herbert,12.90,,,,,\n")
    await run(engine, "title,price,isbn,authors\nDune!!,12.90,0441172717,F. Herbert\n")

    dune = await book(engine, "9780441172719")
    assert (dune.title, dune.stock, dune.year, dune.language) == ("Dune!!", 5, 1965, "en")
    assert len(dune.categories) == 2
    assert [person.name for person in dune.authors] == ["F. Herbert"]


async def test_roles_that_staff_set_are_kept(engine: AsyncEngine) -> None:
    async with transaction(engine) as conn:
        await create_book(
            conn,
            isbn13="9780141439587",
            authors=["Jane Austen", {"name": "Fiona Stafford", "role": "editor"}],
        )

    await run(engine, HEADER + EMMA.replace("Jane Austen", "Jane AUSTEN;Fiona Stafford;New One"))

    emma = await book(engine, "9780141439587")
    assert [(person.name, person.role) for person in emma.authors] == [
        ("Jane Austen", "author"),
        ("Fiona Stafford", "editor"),
        ("New One", "author"),
    ]


async def test_a_category_is_matched_by_name_independent_of_its_slug(engine: AsyncEngine) -> None:
    async with transaction(engine) as conn:
        await categories.create(conn, "Science Fiction", slug="sf", user_id=None, now=NOON)
    await run(engine, HEADER + DUNE)

    report = await run(engine, HEADER + DUNE.replace("Science Fiction", "SCIENCE fiction"))

    assert report.unchanged == 1
    async with reading(engine) as conn:
        assert sorted(node.slug for node in await categories.tree(conn)) == ["classics", "sf"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_common_csv_dialects_are_read(
    engine: AsyncEngine, separator: str, line_end: str
) -> None:
    lines = [
        ("Price", "TITLE ", "Isbn", "Authors", "Colour", "description"),
        ("12,90", 'Du"ne', "0441172717", "Herbert, Frank|Ek, Bo", "red", "Two\nlines"),
        ("", "", "", "", "", ""),
        ("7", "Émma", "9780141439587", "Jane Austen", "", ""),
    ]
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in lines]
    report = await run(engine, b"\xef\xbb\xbf" + (line_end.join(quoted) + line_end).encode())

    assert counts(report) == (2, 2, 0, 0, 0)
    assert report.findings["ignored_columns"] == ["Colour"]
    dune = await book(engine, "0441172717")
    assert (dune.title, dune.price_cents, dune.description) == ('Du"ne', 1290, "Two\nlines")
    assert [person.name for person in dune.authors] == ["Herbert, Frank", "Ek, Bo"]
    assert (await book(engine, "9780141439587")).price_cents == 700


async def test_every_column_is_imported(engine: AsyncEngine) -> None:
    header = "isbn,title,subtitle,authors,price,description,publisher,pages,format,year\n"
    row = "0441172717,Dune,A novel,F,1,<p>Sand</p><script>x</script>,Ace,412.0,paperback,-350.0\n"

    report = await run(engine, header + row)

    assert counts(report) == (1, 1, 0, 0, 0)
    dune = await book(engine, "0441172717")
    assert (dune.subtitle, dune.description, dune.publisher) == ("A novel", "<p>Sand</p>", "Ace")
    assert (dune.pages, dune.format, dune.year) == (412, "paperback", -350)
    assert (await run(engine, header + row)).unchanged == 1


async def test_the_longest_description_is_stored(engine: AsyncEngine) -> None:
    text = "🚀" * 16_000

    await run(engine, f"isbn,title,authors,price,description\n0441172717,三体 🚀,劉,1,{text}\n")

    dune = await book(engine, "0441172717")
    assert dune.description == text
    assert (dune.title, dune.authors[0].name) == ("三体 🚀", "劉")


@pytest.mark.parametrize(
    ("old", "new", "column", "reason"),
    [
        ("0-441-17271-7", "0-441-17271-8", "isbn", "check digit"),
        ("0-441-17271-7", "", "isbn", "blank"),
        ("0-441-17271-7", "9.78044117272E+12", "isbn", "rounded"),
        ("0-441-17271-7", "979-0-2600-0043-8", "isbn", "ISMN"),
        ("0-441-17271-7", "036000291452", "isbn", "UPC"),
        ("Dune", "", "title", "blank"),
        ("Dune", "Du\x07ne", "title", "control"),
        ("Dune", "D" * 501, "title", "501"),
        ("Frank Herbert", "", "authors", "blank"),
        ("Frank Herbert", ";|", "authors", "no name"),
        ("12.90", "", "price", "blank"),
        ("12.90", "-1", "price", "number"),
        ("12.90", "12.905", "price", "ambiguous"),
        ("12.90", "1.234", "price", "ambiguous"),
        ("12.90", "$12.90", "price", "number"),
        ("12.90", "1e3", "price", "number"),
        ("12.90", "Infinity", "price", "number"),
        ("12.90", "NaN", "price", "number"),
        ("12.90", "١٢", "price", "number"),
        ("12.90", "100000.01", "price", "10000000"),
        ("EUR", "USD", "currency", "EUR"),
        (",5,", ",-5,", "stock", "from 0"),
        (",5,", ",5.5,", "stock", "whole"),
        (",5,", ",many,", "stock", "whole"),
        (",5,", ",1.000,", "stock", "ambiguous"),
        ("1965", "2999", "year", "from -3000"),
        ("1965", "MCMLXV", "year", "whole"),
        ("eng", "klingonish", "language", "language"),
        ("Science Fiction|Classics", "|", "category", "no name"),
        ("Science Fiction|Classics", "C" * 201, "category", "201"),
        ("Science Fiction|Classics", "|".join(map(str, range(21))), "category", "20"),
    ],
)
async def test_an_invalid_cell_refuses_only_its_row(
    engine: AsyncEngine, old: str, new: str, column: str, reason: str
) -> None:
    (refusal,) = await refusals(engine, EMMA, DUNE.replace(old, new))

    assert (refusal.line, refusal.column) == (3, column)
    assert reason in refusal.reason
    assert len(refusal.value) <= 60
    async with reading(engine) as conn:
        assert [found.title for found in (await books.find(conn, BookQuery())).items] == ["Emma"]


@pytest.mark.parametrize(
    ("price", "cents"),
    [
        ("0", 0),
        ("12", 1200),
        ("12.9", 1290),
        ('"12,90"', 1290),
        ("0.07", 7),
        ("100000.00", 10**7),
        ('"1.234,50"', 123450),
        ('"1,234.5"', 123450),
        ("1 234.50", 123450),
        ("1\u00a0234.50", 123450),
    ],
)
async def test_prices_are_parsed_exactly(engine: AsyncEngine, price: str, cents: int) -> None:
    await run(engine, HEADER + DUNE.replace("12.90", price))

    assert (await book(engine, "0441172717")).price_cents == cents


@pytest.mark.parametrize(
    "bad",
    [
        "0441172717,Dune,Frank Herbert\n",
        "0441172717,Dune,Frank Herbert,1,EUR,1,1,en,x,y\n",
        '0441172717,"Dune" II,Frank Herbert,1,EUR,1,1,en,x\n',
        '0441172717,"Dune,Frank Herbert,1,EUR,1,1,en,x\n',
        f"0441172717,{'x' * 200_000},F,1,EUR,1,1,en,x\n",
    ],
)
async def test_a_malformed_row_does_not_affect_other_rows(engine: AsyncEngine, bad: str) -> None:
    quoted = EMMA.replace("Emma", '"Em""ma"')

    (refusal,) = await refusals(engine, bad, quoted)

    assert (refusal.line, refusal.column) == (2, None)
    assert len(refusal.value) <= 60
    assert (await book(engine, "9780141439587")).title == 'Em"ma'


async def test_an_unclosed_quotation_mark_is_reported(engine: AsyncEngine) -> None:
    found = await refusals(engine, EMMA, '0441172717,"Dune,F,1,EUR,1,1,en,x\n', "\n")

    assert [(refusal.line, refusal.reason) for refusal in found] == [
        (3, "A quotation mark is opened here and never closed.")
    ]


async def test_lines_are_numbered_as_in_a_text_editor(engine: AsyncEngine) -> None:
    found = await refusals(engine, "\n", DUNE.replace("Dune", '"Dune\nII"'), "1,2\n")

    assert [refusal.line for refusal in found] == [5]


async def test_a_repeated_book_is_refused(engine: AsyncEngine) -> None:
    (refusal,) = await refusals(engine, DUNE, EMMA, DUNE.replace("0-441-17271-7", "9780441172719"))

    assert (refusal.line, refusal.column, refusal.value) == (4, "isbn", "9780441172719")
    assert "line 2" in refusal.reason
    assert (await book(engine, "0441172717")).stock == 5


async def test_an_import_does_not_restore_a_withdrawn_book(engine: AsyncEngine) -> None:
    await run(engine, HEADER + DUNE)
    async with transaction(engine) as conn:
        dune = await books.by_isbn(conn, "0441172717")
        await books.withdraw(conn, dune.id, 1, user_id=None, now=NOON)

    (refusal,) = await refusals(engine, DUNE)

    assert (refusal.line, refusal.column) == (2, "isbn")
    assert "withdrawn" in refusal.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "This file is empty"),
        (b" \n\n", "This file is empty"),
        (b"isbn,colour\n1,2\n", "missing: title, authors, price"),
        (b"title,price\n1,2\n", "missing: isbn"),
        (b"isbn,title,authors,price,PRICE\n", "column price more than once"),
        (b"isbn,title,authors,rrp,list price\n", "price could be 'rrp' or 'list price'"),
        (b"PK\x03\x04\x14\x00", "damaged"),
        (b"%PDF-1.7", "This is a PDF"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b'<?xml version="1.0"?><books/>', "not an ONIX message"),
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"isbn;title;x,price,stock\n", "could be a comma or semicolon"),
        (("x," * 5000).encode(), "5,001 columns; 200 are allowed"),
        (b"x," * 5_000_000, "too long"),
    ],
)
async def test_an_unreadable_file_is_refused_as_a_whole(
    engine: AsyncEngine, content: bytes, reason: str
) -> None:
    job = await run(engine, content)

    assert (job.state, job.read) == (JobState.FAILED, 0)
    assert reason in (job.error or "")
    assert await count(engine, book_stock) == 0


async def test_a_dry_run_reports_the_same_and_writes_nothing(engine: AsyncEngine) -> None:
    await run(engine, HEADER + EMMA)
    text = HEADER + DUNE + EMMA.replace("7.50", "8.50") + "1,2\n"

    dry = await run(engine, text, dry_run=True)

    assert await count(engine, book_stock) == 1
    assert (await book(engine, "9780141439587")).price_cents == 750
    assert counts(dry) == counts(await run(engine, text)) == (3, 1, 1, 0, 1)


async def test_progress_is_reported_after_every_batch(engine: AsyncEngine) -> None:
    progress: list[tuple[int, float]] = []

    async def on_progress(job: Job) -> None:
        progress.append((job.read, job.share))

    job = await run(engine, HEADER + "1,2\n" * 450, on_progress=on_progress)

    steps = [after - before for (before, _), (after, _) in pairwise([(0, 0.0), *progress])]
    assert sum(steps) == 450
    assert max(steps) <= importer.BATCH
    assert len(steps) >= 3
    assert progress[-1][1] == 1.0
    assert len(await refusals_of(engine, job)) == job.refused == 450


async def test_sales_during_an_import_keep_stock_and_movements_consistent(
    engine: AsyncEngine,
) -> None:
    numbers = ISBNS
    text = HEADER + "".join(
        f"{isbn},Book {number},A,1,EUR,{{}},,,\n" for number, isbn in enumerate(numbers)
    )
    await run(engine, text.replace("{}", "1000"))
    async with reading(engine) as conn:
        ids = list(await conn.scalars(select(book_stock.c.book_id)))

    async def sell() -> None:
        for book_id in ids:

            async def one(book_id: int = book_id) -> None:
                async with transaction(engine) as conn:
                    await stock.move(conn, book_id, -1, stock.StockReason.DAMAGED, now=NOON)

            await retry_transaction(one)

    reports = await asyncio.gather(
        run(engine, text.replace("{}", "500")), run(engine, text.replace("{}", "400")), sell()
    )

    assert [report.refused for report in reports[:2]] == [0, 0]
    async with reading(engine) as conn:
        ledger = await conn.execute(
            select(
                book_stock.c.stock,
                select(func.sum(stock_movements.c.delta))
                .where(stock_movements.c.book_id == book_stock.c.book_id)
                .scalar_subquery(),
            )
        )
        stocks = [tuple(map(int, row)) for row in ledger]
    assert len(stocks) == len(numbers)
    assert all(in_stock == moved for in_stock, moved in stocks)
    assert {in_stock for in_stock, _ in stocks} <= {400, 399, 500, 499}


async def test_two_concurrent_imports_of_a_file_create_each_book_once(engine: AsyncEngine) -> None:
    text = HEADER + "".join(
        f"{isbn},Book,Author {place % 7};Author {place % 5},1,EUR,3,,,Genre {place % 9}\n"
        for place, isbn in enumerate(ISBNS)
    )

    first, second = await asyncio.gather(run(engine, text), run(engine, text))

    assert first.created + second.created == len(ISBNS)
    assert first.unchanged + second.unchanged == len(ISBNS)
    async with reading(engine) as conn:
        assert len(await categories.tree(conn)) == 9


def _isbns(count: int) -> list[str]:
    found = []
    for number in range(count):
        digits = f"97800{number:07}"
        weighted = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
        found.append(f"{digits}{-weighted % 10}")
    return found


ISBNS = _isbns(60)
