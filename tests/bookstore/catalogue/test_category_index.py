"""The category index: its copied columns must always equal those of the books."""

import asyncio
from itertools import count, product
from random import Random

import pytest
from sqlalchemy import insert, select, text

from bookstore.backoffice import bulk_changes
from bookstore.backoffice.bulk_changes import BulkField
from bookstore.catalogue import books, categories, category_index, listing
from bookstore.catalogue.listing import BookQuery, Sort
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import book_categories
from bookstore.database.tables import books as book_rows
from bookstore.database.tables import categories as table
from bookstore.errors import Stale
from bookstore.operations.invariants import RULES
from tests.bookstore.imports.lists import HEADER, run
from tests.bookstore.imports.onix import messages
from tests.factories import NOON, add_user, create_book

#: The parents of two branches: a > b > c, and d > e.
TREE = {"a": None, "b": "a", "c": "b", "d": None, "e": "d"}


async def stale(conn):
    return (await conn.execute(text(RULES["the category index matches its books"]))).scalars().all()


async def create_tree(conn):
    for name, parent in TREE.items():
        await categories.create(conn, name, parent=parent, user_id=None, now=NOON)


async def titles_in(conn, slug):
    """The titles in a category, by price."""
    found = await listing.find(conn, BookQuery(category=slug, sort=Sort.PRICE), limit=100)
    return [book.title for book in found.items]


async def test_a_category_list_reflects_every_change_of_its_books(conn):
    await create_tree(conn)
    expensive = await create_book(conn, title="Dear", price_cents=5000, categories=["c"])
    cheap = await create_book(conn, title="Cheap", price_cents=100, categories=["a", "e"])
    assert await titles_in(conn, "a") == ["Cheap", "Dear"]

    changed = await books.change(
        conn,
        expensive.id,
        expensive.version,
        {"price_cents": 1, "title": "Gift"},
        user_id=None,
        now=NOON,
    )
    assert await titles_in(conn, "a") == ["Gift", "Cheap"]

    moved = await books.change(
        conn,
        expensive.id,
        changed.version,
        {"categories": ["d"], "year": 1999},
        user_id=None,
        now=NOON,
    )
    assert [await titles_in(conn, slug) for slug in "abd"] == [["Cheap"], [], ["Gift", "Cheap"]]

    await books.withdraw(conn, expensive.id, moved.version, user_id=None, now=NOON)
    assert await titles_in(conn, "d") == ["Cheap"]
    await books.restore(conn, expensive.id, moved.version + 1, user_id=None, now=NOON)
    assert await titles_in(conn, "d") == ["Gift", "Cheap"]

    await categories.change(conn, "d", {"parent": "b"}, user_id=None, now=NOON)
    assert await titles_in(conn, "b") == ["Gift", "Cheap"]
    await books.withdraw(conn, cheap.id, cheap.version, user_id=None, now=NOON)
    await categories.remove(conn, "e", user_id=None, now=NOON)
    assert await titles_in(conn, "a") == ["Gift"]
    assert await stale(conn) == []


async def test_category_lists_reflect_bulk_changes(conn):
    await create_tree(conn)
    staff = await add_user(conn)
    for number in range(4):
        await create_book(
            conn, title=f"Book {number}", price_cents=1000 - 2 * number, categories=["c"]
        )
    everything = select(book_rows.c.id)

    async def run_to_end(step, plan_id):
        while await step(conn, plan_id, user_id=staff, now=NOON, batch_size=3):
            pass

    prices = await bulk_changes.plan_prices(conn, everything, "-50%", user_id=staff, now=NOON)
    await run_to_end(bulk_changes.apply, prices)
    assert await stale(conn) == []
    additions = await bulk_changes.plan_category(
        conn, everything, BulkField.ADD_CATEGORY, "e", user_id=staff, now=NOON
    )
    await run_to_end(bulk_changes.apply, additions)
    assert await titles_in(conn, "d") == [f"Book {number}" for number in (3, 2, 1, 0)]
    await run_to_end(bulk_changes.undo, additions)
    await run_to_end(bulk_changes.undo, prices)
    assert await titles_in(conn, "d") == []
    assert len(await titles_in(conn, "a")) == 4
    assert await stale(conn) == []


async def test_category_lists_reflect_imports(engine):
    first = "9780441172719,Dune,F,12.90,EUR,1,1965,en,Space\n"
    second = "9780141439587,Emma,J,7.50,EUR,1,1815,en,Classics|Space\n"
    await run(engine, HEADER + first + second)
    async with reading(engine) as conn:
        assert await titles_in(conn, "space") == ["Emma", "Dune"]

    await run(
        engine,
        HEADER
        + first.replace("12.90", "2.90").replace("Space", "Space|Classics")
        + second.replace("Emma", "Emma again"),
    )
    async with reading(engine) as conn:
        assert await titles_in(conn, "space") == ["Dune", "Emma again"]
        assert await titles_in(conn, "classics") == ["Dune", "Emma again"]

    full = messages.DETAIL.format(title="Dune", author="F")
    await messages.run(engine, messages.product("9780441172719", "05", full))
    async with reading(engine) as conn:
        assert await titles_in(conn, "space") == ["Emma again"]
        assert await stale(conn) == []


async def test_concurrent_changes_leave_the_category_index_consistent(engine):
    async with transaction(engine) as conn:
        await create_tree(conn)
        book = await create_book(conn, categories=["a", "c"])
    prices = count(1000)

    async def raise_price():
        async with transaction(engine) as conn:
            now = await books.get(conn, book.id)
            change = {"price_cents": next(prices)}
            await books.change(conn, book.id, now.version, change, user_id=None, now=NOON)

    async def move_to(slugs):
        async with transaction(engine) as conn:
            now = await books.get(conn, book.id)
            change = {"categories": slugs}
            await books.change(conn, book.id, now.version, change, user_id=None, now=NOON)

    async def retry_until_done(work):
        while True:
            try:
                return await retry_transaction(work)
            except Stale:
                continue

    tasks = [raise_price] * 6 + [
        lambda slugs=slugs: move_to(slugs) for slugs in (["d"], ["a", "e"], ["c"], ["b", "d"])
    ]
    async with asyncio.timeout(60):
        await asyncio.gather(*(retry_until_done(work) for work in tasks))

    async with reading(engine) as conn:
        last = await books.get(conn, book.id)
        assert await stale(conn) == []
        assert {
            row.price_cents for row in await conn.execute(select(book_categories.c.price_cents))
        } == {last.price_cents}
        assert last.version == 1 + len(tasks)


@pytest.fixture
async def books_on_sale(conn):
    """Sixty books with many equal values, most of them in several categories.

    The result contains only those on sale.
    """
    await create_tree(conn)
    random = Random(7)
    created = []
    for _ in range(60):
        created.append(
            await create_book(
                conn,
                title=random.choice(["Same", "Other", "Third"]),
                price_cents=random.choice([500, 500, 700, 900]),
                year=random.choice([None, 1999, 2001]),
                language=random.choice(["en", "en-US", "de"]),
                format=random.choice(["paperback", "hardback"]),
                stock=random.choice([0, 1]),
                categories=random.sample([*TREE], random.randrange(4)),
            )
        )
    for book in created[::9]:
        await books.withdraw(conn, book.id, book.version, user_id=None, now=NOON)
    return [book for book in created if book not in created[::9]]


def ancestors(slug):
    """The slugs of a category and all its ancestors."""
    while slug is not None:
        yield slug
        slug = TREE[slug]


KEYS = {
    Sort.TITLE: lambda book: (books.sort_title(book.title), book.id),
    Sort.TITLE_DESC: lambda book: (books.sort_title(book.title), book.id),
    Sort.PRICE: lambda book: (book.price_cents, book.id),
    Sort.PRICE_DESC: lambda book: (book.price_cents, book.id),
    Sort.YEAR_DESC: lambda book: (book.year or 0, book.id),
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
async def test_a_category_list_contains_the_matching_books_of_its_subtree(
    conn, books_on_sale, empty
):
    # With more than 100 subcategories, the list is not merged from their indexes.
    for slug in "abd" if empty else "":
        parent = await conn.scalar(select(table.c.id).where(table.c.slug == slug))
        columns = {"parent_id": parent, "name": "Empty", "position": 0}
        await conn.execute(
            insert(table), [{"slug": f"{slug}-{number}", **columns} for number in range(empty)]
        )
    for (sort, key), slug, (filters, matches) in product(KEYS.items(), "abd", FILTERS.values()):
        pages, cursor = [], None
        while True:
            page = await listing.find(
                conn, BookQuery(category=slug, sort=sort, **filters), cursor=cursor, limit=4
            )
            pages += [book.id for book in page.items]
            cursor = page.next
            if cursor is None:
                break
        expected = [
            book
            for book in books_on_sale
            if matches(book) and any(slug in ancestors(it.slug) for it in book.categories)
        ]
        expected.sort(key=key, reverse=sort.startswith("-"))
        assert pages == [book.id for book in expected], (sort, slug, filters)


async def test_a_category_counts_each_book_of_its_subtree_once(conn, books_on_sale):
    counted = {it.slug: it.book_count for it in await categories.tree(conn)}

    assert counted == {
        slug: sum(
            any(slug in ancestors(it.slug) for it in book.categories) for book in books_on_sale
        )
        for slug in TREE
    }


async def test_an_unknown_category_has_no_books(conn):
    assert (await listing.find(conn, BookQuery(category="nowhere"))).items == []
    assert (await listing.find(conn, BookQuery(category="\ud800"))).items == []


def test_ancestors_terminate_in_a_tree_with_a_cycle():
    assert list(category_index.ancestors(1, {1: 2, 2: 3, 3: 1})) == [1, 2, 3]
