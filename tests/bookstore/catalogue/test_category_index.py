"""Shelves: lists of them are read from copies of what books say, which must never differ."""

import asyncio
from itertools import count, product
from random import Random

import pytest
from sqlalchemy import insert, select, text

from bookstore.backoffice import bulk_changes
from bookstore.backoffice.bulk_changes import Field
from bookstore.catalogue import books, categories, category_index, listing
from bookstore.catalogue.listing import Query, Sort
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import book_categories
from bookstore.database.tables import books as book_rows
from bookstore.database.tables import categories as table
from bookstore.errors import Stale
from bookstore.operations.invariants import RULES
from tests.bookstore.imports.onix import test_source
from tests.bookstore.imports.test_importer import HEADER, run
from tests.factories import NOON, add_user, create_book

#: A tree of three levels: a < b < c, and d beside them.
TREE = {"a": None, "b": "a", "c": "b", "d": None, "e": "d"}


async def stale(conn):
    return (
        (await conn.execute(text(RULES["a shelf lists its books by what they say"])))
        .scalars()
        .all()
    )


async def plant(conn):
    for name, parent in TREE.items():
        await categories.create(conn, name, parent=parent, user_id=None, now=NOON)


async def standing(conn, slug):
    """The titles on a shelf, by price."""
    found = await listing.find(conn, Query(category=slug, sort=Sort.PRICE), limit=100)
    return [book.title for book in found.items]


async def test_a_shelf_follows_every_change_of_its_books(conn):
    await plant(conn)
    dear = await create_book(conn, title="Dear", price_cents=5000, categories=["c"])
    cheap = await create_book(conn, title="Cheap", price_cents=100, categories=["a", "e"])
    assert await standing(conn, "a") == ["Cheap", "Dear"]

    changed = await books.change(
        conn, dear.id, dear.version, {"price_cents": 1, "title": "Gift"}, user_id=None, now=NOON
    )
    assert await standing(conn, "a") == ["Gift", "Cheap"]

    moved = await books.change(
        conn, dear.id, changed.version, {"categories": ["d"], "year": 1999}, user_id=None, now=NOON
    )
    assert [await standing(conn, slug) for slug in "abd"] == [["Cheap"], [], ["Gift", "Cheap"]]

    await books.withdraw(conn, dear.id, moved.version, user_id=None, now=NOON)
    assert await standing(conn, "d") == ["Cheap"]
    await books.restore(conn, dear.id, moved.version + 1, user_id=None, now=NOON)
    assert await standing(conn, "d") == ["Gift", "Cheap"]

    await categories.change(conn, "d", {"parent": "b"}, user_id=None, now=NOON)
    assert await standing(conn, "b") == ["Gift", "Cheap"]
    await books.withdraw(conn, cheap.id, cheap.version, user_id=None, now=NOON)
    await categories.remove(conn, "e", user_id=None, now=NOON)
    assert await standing(conn, "a") == ["Gift"]
    assert await stale(conn) == []


async def test_many_books_change_at_once_and_shelves_follow(conn):
    await plant(conn)
    staff = await add_user(conn)
    for place in range(4):
        await create_book(
            conn, title=f"Book {place}", price_cents=1000 - 2 * place, categories=["c"]
        )
    everything = select(book_rows.c.id)

    async def whole(step, plan_id):
        while await step(conn, plan_id, user_id=staff, now=NOON, at_once=3):
            pass

    prices = await bulk_changes.plan_prices(conn, everything, "-50%", user_id=staff, now=NOON)
    await whole(bulk_changes.carry_out, prices)
    assert await stale(conn) == []
    put = await bulk_changes.plan_category(
        conn, everything, Field.ADD_CATEGORY, "e", user_id=staff, now=NOON
    )
    await whole(bulk_changes.carry_out, put)
    assert await standing(conn, "d") == [f"Book {place}" for place in (3, 2, 1, 0)]
    await whole(bulk_changes.undo, put)
    await whole(bulk_changes.undo, prices)
    assert await standing(conn, "d") == []
    assert len(await standing(conn, "a")) == 4
    assert await stale(conn) == []


async def test_what_an_import_changes_is_listed_so(engine):
    first = "9780441172719,Dune,F,12.90,EUR,1,1965,en,Space\n"
    second = "9780141439587,Emma,J,7.50,EUR,1,1815,en,Classics|Space\n"
    await run(engine, HEADER + first + second)
    async with reading(engine) as conn:
        assert await standing(conn, "space") == ["Emma", "Dune"]

    await run(
        engine,
        HEADER
        + first.replace("12.90", "2.90").replace("Space", "Space|Classics")
        + second.replace("Emma", "Emma again"),
    )
    async with reading(engine) as conn:
        assert await standing(conn, "space") == ["Dune", "Emma again"]
        assert await standing(conn, "classics") == ["Dune", "Emma again"]

    full = test_source.DETAIL.format(title="Dune", author="F")
    await test_source.run(engine, test_source.product("9780441172719", "05", full))
    async with reading(engine) as conn:
        assert await standing(conn, "space") == ["Emma again"]
        assert await stale(conn) == []


async def test_changes_at_once_leave_no_shelf_behind(engine):
    async with transaction(engine) as conn:
        await plant(conn)
        book = await create_book(conn, categories=["a", "c"])
    prices = count(1000)

    async def dearer():
        async with transaction(engine) as conn:
            now = await books.get(conn, book.id)
            change = {"price_cents": next(prices)}
            await books.change(conn, book.id, now.version, change, user_id=None, now=NOON)

    async def elsewhere(slugs):
        async with transaction(engine) as conn:
            now = await books.get(conn, book.id)
            change = {"categories": slugs}
            await books.change(conn, book.id, now.version, change, user_id=None, now=NOON)

    async def insistently(work):
        while True:
            try:
                return await retry_transaction(work)
            except Stale:
                continue

    works = [dearer] * 6 + [
        lambda slugs=slugs: elsewhere(slugs) for slugs in (["d"], ["a", "e"], ["c"], ["b", "d"])
    ]
    async with asyncio.timeout(60):
        await asyncio.gather(*(insistently(work) for work in works))

    async with reading(engine) as conn:
        last = await books.get(conn, book.id)
        assert await stale(conn) == []
        assert {
            row.price_cents for row in await conn.execute(select(book_categories.c.price_cents))
        } == {last.price_cents}
        assert last.version == 1 + len(works)


@pytest.fixture
async def library(conn):
    """Sixty books that are alike in many ways, most on several shelves."""
    await plant(conn)
    dice = Random(7)
    made = []
    for _ in range(60):
        made.append(
            await create_book(
                conn,
                title=dice.choice(["Same", "Other", "Third"]),
                price_cents=dice.choice([500, 500, 700, 900]),
                year=dice.choice([None, 1999, 2001]),
                language=dice.choice(["en", "en-US", "de"]),
                format=dice.choice(["paperback", "hardback"]),
                stock=dice.choice([0, 1]),
                categories=dice.sample([*TREE], dice.randrange(4)),
            )
        )
    for gone in made[::9]:
        await books.withdraw(conn, gone.id, gone.version, user_id=None, now=NOON)
    return [book for book in made if book not in made[::9]]


def within(slug):
    """A category and all above it."""
    while slug is not None:
        yield slug
        slug = TREE[slug]


KEYS = {
    Sort.TITLE: lambda book: (books.sort_title(book.title), book.id),
    Sort.TITLE_DOWN: lambda book: (books.sort_title(book.title), book.id),
    Sort.PRICE: lambda book: (book.price_cents, book.id),
    Sort.PRICE_DOWN: lambda book: (book.price_cents, book.id),
    Sort.YEAR_DOWN: lambda book: (book.year or 0, book.id),
    Sort.NEWEST: lambda book: book.id,
}
FILTERS = {
    "nothing": ({}, lambda book: True),
    "language": ({"language": "en"}, lambda book: book.language in ("en", "en-US")),
    "rest": (
        {"format": "hardback", "min_price_cents": 500, "max_price_cents": 700, "in_stock": True},
        lambda book: (book.format, book.stock) == ("hardback", 1) and book.price_cents <= 700,
    ),
}


@pytest.mark.parametrize("empty", [0, 101])
async def test_a_shelf_is_the_whole_list_less_what_stands_elsewhere(conn, library, empty):
    # So many that they are not looked at one by one.
    for slug in "abd" if empty else "":
        parent = await conn.scalar(select(table.c.id).where(table.c.slug == slug))
        facts = {"parent_id": parent, "name": "Empty", "position": 0}
        await conn.execute(
            insert(table), [{"slug": f"{slug}-{number}", **facts} for number in range(empty)]
        )
    for (sort, key), slug, (filters, fits) in product(KEYS.items(), "abd", FILTERS.values()):
        pages, cursor = [], None
        while True:
            page = await listing.find(
                conn, Query(category=slug, sort=sort, **filters), cursor=cursor, limit=4
            )
            pages += [book.id for book in page.items]
            cursor = page.next
            if cursor is None:
                break
        expected = [
            book
            for book in library
            if fits(book) and any(slug in within(it.slug) for it in book.categories)
        ]
        expected.sort(key=key, reverse=sort.startswith("-"))
        assert pages == [book.id for book in expected], (sort, slug, filters)


async def test_a_category_counts_each_book_within_it_once(conn, library):
    counted = {it.slug: it.book_count for it in await categories.tree(conn)}

    assert counted == {
        slug: sum(any(slug in within(it.slug) for it in book.categories) for book in library)
        for slug in TREE
    }


async def test_there_is_nothing_on_a_shelf_that_is_not_there(conn):
    assert (await listing.find(conn, Query(category="nowhere"))).items == []
    assert (await listing.find(conn, Query(category="\ud800"))).items == []


def test_a_broken_tree_has_an_end():
    assert list(category_index.upwards(1, {1: 2, 2: 3, 3: 1})) == [1, 2, 3]
