"""The numbers beside the filters of a list."""

import pytest
from sqlalchemy import insert

from bookstore.catalogue import categories, facets
from bookstore.catalogue.facets import MOST, Count
from bookstore.catalogue.listing import Query
from bookstore.database import engine as db
from bookstore.database.tables import book_stock, books
from tests.factories import NOON, create_book


@pytest.fixture
async def shelf(engine):
    # Committed, because InnoDB finds no words before.
    async with db.transaction(engine) as conn:
        fiction = await categories.create(conn, "Fiction", user_id=None, now=NOON)
        space = await categories.create(conn, "Space", parent="fiction", user_id=None, now=NOON)
        both = [fiction.slug, space.slug]
        await create_book(conn, title="Dune", categories=both, language="en", format="paperback")
        await create_book(conn, title="Solaris", categories=["space"], language="pl", stock=0)
        await create_book(
            conn, title="Emma", categories=["fiction"], language="en", format="hardback"
        )


@pytest.mark.usefixtures("shelf")
async def test_every_choice_says_how_many_books_it_leaves(conn):
    found = await facets.count(conn, Query())

    assert found.total == Count(3, False)
    assert found.categories == {"fiction": Count(3, False), "space": Count(2, False)}
    assert found.languages == {"en": Count(2, False), "pl": Count(1, False)}
    assert found.formats == {"paperback": Count(1, False), "hardback": Count(1, False)}
    assert found.in_stock == Count(2, False)


@pytest.mark.usefixtures("shelf")
async def test_a_choice_that_is_made_does_not_hide_the_others(conn):
    found = await facets.count(conn, Query(q="dune", category="space", language="en"))
    english = await facets.count(conn, Query(language="en", in_stock=True))

    assert found.total == Count(1, False)
    assert found.categories == {"fiction": Count(1, False), "space": Count(1, False)}
    assert english.languages == {"en": Count(2, False)}
    assert english.categories == {"fiction": Count(2, False), "space": Count(1, False)}
    assert (await facets.count(conn, Query(language="pl", in_stock=True))).in_stock.number == 0


async def test_counting_stops_where_nobody_compares_any_more(conn):
    numbers = range(1, MOST + 2)
    facts = {"sort_title": "b", "price_cents": 990, "version": 1, "language": "en"}
    await conn.execute(
        insert(books),
        [
            {"id": it, "isbn13": f"9798{it:09}", "title": f"Book {it}", "created_at": NOON}
            | {"updated_at": NOON, **facts}
            for it in numbers
        ],
    )
    await conn.execute(
        insert(book_stock), [{"book_id": it, "stock": int(it > 1)} for it in numbers]
    )

    found = await facets.count(conn, Query())

    assert found.total == found.languages["en"] == Count(MOST, True)
    assert found.in_stock == Count(MOST, False)
