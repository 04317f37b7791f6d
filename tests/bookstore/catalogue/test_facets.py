"""Facet counts: the numbers beside the filters of a list."""

import pytest
from sqlalchemy import insert

from bookstore.catalogue import books as catalogue_books
from bookstore.catalogue import categories, facets
from bookstore.catalogue.facets import MAX_COUNT, Count
from bookstore.catalogue.listing import BookQuery
from bookstore.database import engine as db
from bookstore.database.tables import book_stock, books
from tests.factories import NOON, create_book


@pytest.fixture
async def catalogue(engine):
    # Committed, because InnoDB's full-text index contains only committed rows.
    async with db.transaction(engine) as conn:
        fiction = await categories.create(conn, "Fiction", user_id=None, now=NOON)
        space = await categories.create(conn, "Space", parent="fiction", user_id=None, now=NOON)
        both = [fiction.slug, space.slug]
        await create_book(conn, title="Dune", categories=both, language="en", format="paperback")
        await create_book(conn, title="Solaris", categories=["space"], language="pl", stock=0)
        await create_book(
            conn, title="Emma", categories=["fiction"], language="en", format="hardback"
        )


@pytest.mark.usefixtures("catalogue")
async def test_every_filter_option_has_the_number_of_its_books(conn):
    found = await facets.count(conn, BookQuery())

    assert found.total == Count(3, False)
    assert found.categories == {"fiction": Count(3, False), "space": Count(2, False)}
    assert found.languages == {"en": Count(2, False), "pl": Count(1, False)}
    assert found.formats == {"paperback": Count(1, False), "hardback": Count(1, False)}
    assert found.in_stock == Count(2, False)


@pytest.mark.usefixtures("catalogue")
async def test_a_selected_filter_does_not_hide_its_other_options(conn):
    found = await facets.count(conn, BookQuery(q="dune", category="space", language="en"))
    english = await facets.count(conn, BookQuery(language="en", in_stock=True))

    assert found.total == Count(1, False)
    assert found.categories == {"fiction": Count(1, False), "space": Count(1, False)}
    assert english.languages == {"en": Count(2, False)}
    assert english.categories == {"fiction": Count(2, False), "space": Count(1, False)}
    assert (await facets.count(conn, BookQuery(language="pl", in_stock=True))).in_stock.number == 0


async def test_counting_stops_at_the_maximum(conn):
    numbers = range(1, MAX_COUNT + 2)
    columns = {"sort_title": "b", "price_cents": 990, "version": 1, "language": "en"}
    await conn.execute(
        insert(books),
        [
            {"id": it, "isbn13": f"9798{it:09}", "title": f"Book {it}", "created_at": NOON}
            | {"updated_at": NOON, **columns}
            for it in numbers
        ],
    )
    await conn.execute(
        insert(book_stock), [{"book_id": it, "stock": int(it > 1)} for it in numbers]
    )

    found = await facets.count(conn, BookQuery())

    assert found.total == found.languages["en"] == Count(MAX_COUNT, True)
    assert found.in_stock == Count(MAX_COUNT, False)


async def test_languages_are_counted_over_books_on_sale(conn):
    for language in ("de", "en", "en", None):
        await create_book(conn, language=language)
    gone = await create_book(conn, language="fr")
    await catalogue_books.withdraw(conn, gone.id, gone.version, user_id=None, now=NOON)

    assert await facets.languages(conn) == [("en", 2), ("de", 1)]
