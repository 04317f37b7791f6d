"""Books: created, changed, withdrawn and listed."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore.catalogue import books, categories, stock
from bookstore.catalogue.books import Book, BookQuery, CategoryRef, Sort
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import audit_log
from bookstore.database.tables import authors as authors_table
from bookstore.errors import Invalid, InvalidIsbn, IsbnTaken, NotFound, Stale
from tests.factories import NOON, add_user, create_book

LATER = NOON + timedelta(hours=1)


async def test_a_new_book_has_the_values_it_was_created_with(conn: AsyncConnection) -> None:
    await categories.create(conn, "Science Fiction", user_id=None, now=NOON)

    book = await create_book(
        conn,
        isbn13="0-441-17271-7",
        title="  Dune  Messiah ",
        authors=["Frank Herbert", {"name": "Anna Binder", "role": "translator"}],
        categories=["science-fiction"],
        language="eng",
        year=1969,
        pages=256,
        format="paperback",
        publisher="Ace",
        stock=3,
    )

    assert book == await books.get(conn, book.id)
    assert (book.isbn13, book.title, book.language) == ("9780441172719", "Dune Messiah", "en")
    assert [(person.name, person.role) for person in book.authors] == [
        ("Frank Herbert", "author"),
        ("Anna Binder", "translator"),
    ]
    assert book.categories == [CategoryRef("science-fiction", "Science Fiction")]
    assert (book.stock, book.available, book.version, book.created_at) == (3, True, 1, NOON)


async def test_the_initial_stock_is_recorded_in_the_ledger(conn: AsyncConnection) -> None:
    editor = await add_user(conn)
    book = await create_book(conn, stock=0)
    assert (await stock.movements(conn, book.id)).items == []

    dune = await books.create(
        conn,
        books.BookInput(
            isbn13="9780441172719", title="Dune", authors=["F"], price_cents=1, stock=7
        ),
        user_id=editor,
        now=NOON,
    )

    (received,) = (await stock.movements(conn, dune.id)).items
    assert (received.delta, received.reason, received.user_id) == (7, "received", editor)


async def test_an_isbn_is_unique(conn: AsyncConnection) -> None:
    await create_book(conn, isbn13="9780441172719")

    with pytest.raises(IsbnTaken):
        await create_book(conn, isbn13="0441172717")

    # The transaction is still usable.
    assert (await books.by_isbn(conn, "0-441-17271-7")).title == "Dune"


async def test_spellings_of_one_author_are_stored_once(conn: AsyncConnection) -> None:
    first = await create_book(conn, authors=["J.K. Rowling", "Mary GrandPré", "J. K. ROWLING"])
    second = await create_book(conn, authors=["j. k. rowling", "MARY  GrandPré"])

    assert first.authors == second.authors
    assert [person.name for person in second.authors] == ["J.K. Rowling", "Mary GrandPré"]
    assert await conn.scalar(select(func.count()).select_from(authors_table)) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", " \u00a0\n "),
        ("title", "Du\x00ne"),
        ("title", "Du\x07ne"),
        ("title", "Du\ud800ne"),
        ("title", "\u202eenuD"),
        ("title", "D" * 501),
        ("title", 1984),
        ("title", None),
        ("isbn13", "9780441172710"),
        ("isbn13", None),
        ("year", -3001),
        ("year", NOON.year + 6),
        ("year", "1965"),
        ("year", True),
        ("language", "xx"),
        ("language", "english please"),
        ("language", "\ud800"),
        ("price_cents", -1),
        ("price_cents", 10_000_001),
        ("price_cents", 12.9),
        ("price_cents", None),
        ("pages", 0),
        ("pages", 2**70),
        ("stock", -1),
        ("authors", []),
        ("authors", "Frank Herbert"),
        ("authors", [" "]),
        ("authors", [{"name": "Frank", "role": "dog"}]),
        ("authors", [{"role": "author"}]),
        ("authors", [{"name": ["Frank"]}]),
        ("authors", ["A" * 256]),
        ("authors", [f"Author {number}" for number in range(101)]),
        ("categories", ["no-such-slug"]),
        ("categories", ["\ud800"]),
        ("categories", "fiction"),
        ("description", "x" * 16_001),
        ("description", "a\x00b"),
        ("format", "f" * 21),
    ],
)
async def test_an_invalid_book_is_rejected(conn: AsyncConnection, field: str, value: Any) -> None:
    with pytest.raises(Invalid) as refusal:
        await create_book(conn, **{field: value})

    assert refusal.value.field == field


@pytest.mark.parametrize("price_cents", [0, 10_000_000])
async def test_the_lowest_and_the_highest_price_are_accepted(
    conn: AsyncConnection, price_cents: int
) -> None:
    assert (await create_book(conn, price_cents=price_cents)).price_cents == price_cents


async def test_text_in_any_script_is_stored_unchanged(conn: AsyncConnection) -> None:
    book = await create_book(conn, title="三体 🚀 کتاب", authors=["劉慈欣", "Ýrsa Sigurðardóttir"])

    assert book.title == "三体 🚀 کتاب"
    assert [person.name for person in book.authors] == ["劉慈欣", "Ýrsa Sigurðardóttir"]


async def test_a_description_keeps_its_emphasis_and_loses_dangerous_html(
    conn: AsyncConnection,
) -> None:
    book = await create_book(
        conn,
        description='<p onclick="x()"><i>Dune</i> by <a href="https://x.example">him</a></p>'
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
    )

    assert book.description == "<p><i>Dune</i> by him</p>"


async def test_a_change_is_merged_and_audited(conn: AsyncConnection) -> None:
    editor = await add_user(conn)
    book = await create_book(conn, subtitle="A novel", price_cents=1290, year=1965)

    changed = await books.change(
        conn,
        book.id,
        1,
        {"price_cents": 990, "subtitle": None, "year": 1965, "authors": ["Brian Herbert"]},
        user_id=editor,
        now=LATER,
    )

    assert (changed.price_cents, changed.subtitle, changed.year) == (990, None, 1965)
    assert (changed.version, changed.updated_at, changed.created_at) == (2, LATER, NOON)
    assert changed.stock == book.stock
    row = (await conn.execute(select(audit_log).order_by(audit_log.c.id.desc()).limit(1))).one()
    assert (row.user_id, row.action, row.object_id) == (editor, "change", str(book.id))
    assert row.changes == {
        "price_cents": [1290, 990],
        "subtitle": ["A novel", None],
        "authors": [["Frank Herbert (author)"], ["Brian Herbert (author)"]],
    }


async def test_a_change_without_effect_keeps_the_version(conn: AsyncConnection) -> None:
    book = await create_book(conn)

    same = await books.change(
        conn, book.id, 1, {"title": "Dune ", "price_cents": 1290}, user_id=None, now=LATER
    )

    assert same == book


async def test_categories_of_a_book_are_replaced(conn: AsyncConnection) -> None:
    for name in ("Fantasy", "Classics", "Poetry"):
        await categories.create(conn, name, user_id=None, now=NOON)
    book = await create_book(conn, categories=["fantasy", "classics"])

    changed = await books.change(
        conn, book.id, 1, {"categories": ["poetry", "fantasy"]}, user_id=None, now=LATER
    )

    assert [category.slug for category in changed.categories] == ["poetry", "fantasy"]


async def test_saving_an_old_version_raises_stale(conn: AsyncConnection) -> None:
    book = await create_book(conn)
    await books.change(conn, book.id, 1, {"title": "Dune I"}, user_id=None, now=LATER)

    with pytest.raises(Stale) as refusal:
        await books.change(conn, book.id, 1, {"title": "Dune II"}, user_id=None, now=LATER)

    assert refusal.value.version == 2
    assert (await books.get(conn, book.id)).title == "Dune I"


async def test_of_two_concurrent_changes_one_raises_stale(engine: AsyncEngine) -> None:
    async with transaction(engine) as conn:
        book = await create_book(conn)

    async def change(title: str) -> None:
        async with transaction(engine) as conn:
            await books.change(conn, book.id, 1, {"title": title}, user_id=None, now=LATER)

    outcomes = await asyncio.gather(
        *(retry_transaction(partial(change, title)) for title in ("Left", "Right")),
        return_exceptions=True,
    )

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "Stale"]
    winner = ("Left", "Right")[outcomes.index(None)]
    async with reading(engine) as conn:
        after = await books.get(conn, book.id)
        assert (after.title, after.version) == (winner, 2)


@pytest.mark.parametrize(
    "changes",
    [{"stock": 5}, {"id": 5}, {"version": 5}, {"title": None}, {"isbn13": "1"}, {"authors": None}],
)
async def test_an_invalid_change_is_rejected(
    conn: AsyncConnection, changes: dict[str, Any]
) -> None:
    book = await create_book(conn)

    with pytest.raises(Invalid) as refusal:
        await books.change(conn, book.id, 1, changes, user_id=None, now=LATER)

    assert refusal.value.field in changes
    assert await books.get(conn, book.id) == book


async def test_a_book_cannot_be_given_the_isbn_of_another_book(conn: AsyncConnection) -> None:
    await create_book(conn, isbn13="9780441172719")
    book = await create_book(conn)

    with pytest.raises(IsbnTaken):
        await books.change(conn, book.id, 1, {"isbn13": "0441172717"}, user_id=None, now=LATER)


async def test_a_withdrawn_book_is_hidden_from_the_store_but_still_stored(
    conn: AsyncConnection,
) -> None:
    book = await create_book(conn)

    await books.withdraw(conn, book.id, 1, user_id=None, now=LATER)

    assert (await books.find(conn, BookQuery())).items == []
    with pytest.raises(NotFound):
        await books.get(conn, book.id)
    with pytest.raises(NotFound):
        await books.by_isbn(conn, book.isbn13)
    with pytest.raises(NotFound):
        await books.withdraw(conn, book.id, 2, user_id=None, now=LATER)
    withdrawn = await books.get(conn, book.id, withdrawn=True)
    assert (withdrawn.withdrawn_at, withdrawn.available, withdrawn.version) == (LATER, False, 2)


async def test_a_withdrawn_book_can_be_restored(conn: AsyncConnection) -> None:
    book = await create_book(conn)
    await books.withdraw(conn, book.id, 1, user_id=None, now=LATER)

    restored = await books.restore(conn, book.id, 2, user_id=None, now=LATER)

    assert (restored.available, restored.version) == (True, 3)
    with pytest.raises(Stale):
        await books.withdraw(conn, book.id, 2, user_id=None, now=LATER)


@pytest.mark.parametrize("book_id", [0, -1, 4711, 2**70])
async def test_an_unknown_book_is_not_found(conn: AsyncConnection, book_id: int) -> None:
    with pytest.raises(NotFound):
        await books.get(conn, book_id)


async def test_looking_up_an_invalid_isbn_raises_an_error(conn: AsyncConnection) -> None:
    with pytest.raises(InvalidIsbn):
        await books.by_isbn(conn, "9780441172710")


# Lists


async def test_a_list_combines_all_filters(conn: AsyncConnection) -> None:
    await categories.create(conn, "Fiction", user_id=None, now=NOON)
    await categories.create(conn, "Space", parent="fiction", user_id=None, now=NOON)
    values: dict[str, Any] = {"categories": ["space"], "language": "en-US", "price_cents": 1000}
    matching = await create_book(conn, **values)
    await create_book(conn, **values | {"categories": []})
    await create_book(conn, **values | {"language": "de"})
    await create_book(conn, **values | {"price_cents": 999})
    await create_book(conn, **values | {"price_cents": 1001})
    await create_book(conn, **values | {"stock": 0})
    await create_book(conn, **values | {"authors": ["Jane Doe"]})

    page = await books.find(
        conn,
        BookQuery(
            category="fiction",
            author=matching.authors[0].id,
            language="eng",
            min_price_cents=1000,
            max_price_cents=1000,
            in_stock=True,
        ),
    )

    assert [book.id for book in page.items] == [matching.id]
    assert page.items[0] == matching


async def test_sold_out_books_can_be_listed_separately(conn: AsyncConnection) -> None:
    await create_book(conn, stock=1)
    sold_out = await create_book(conn, stock=0)

    page = await books.find(conn, BookQuery(in_stock=False))

    assert [book.id for book in page.items] == [sold_out.id]


@pytest.mark.parametrize(
    "query",
    [
        BookQuery(category="nowhere"),
        BookQuery(category="\ud800"),
        BookQuery(author=2**70),
        BookQuery(min_price_cents=2**70),
        BookQuery(max_price_cents=-(2**70)),
    ],
)
async def test_filters_that_match_no_book_find_nothing(
    conn: AsyncConnection, query: BookQuery
) -> None:
    await create_book(conn)

    assert (await books.find(conn, query)).items == []


async def create_books(conn: AsyncConnection) -> list[Book]:
    """Create books with equal values for every sort order, some of them without a year."""
    return [
        await create_book(
            conn,
            title=("Emma", "Dune", "Émile", "'Zadig'", "emma")[number % 5],
            price_cents=(500, 900, 500)[number % 3],
            year=(1815, None, -350, 1965)[number % 4],
            now=NOON + timedelta(seconds=number // 4),
        )
        for number in range(17)
    ]


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("limit", [1, 4])
async def test_pages_contain_every_book_once_and_in_order(
    conn: AsyncConnection, sort: Sort, limit: int
) -> None:
    everything = await create_books(conn)
    keys: dict[Sort, Any] = {
        Sort.TITLE: lambda book: (_plain_title(book), book.id),
        Sort.TITLE_DESC: lambda book: (_plain_title(book), book.id),
        Sort.PRICE: lambda book: (book.price_cents, book.id),
        Sort.PRICE_DESC: lambda book: (book.price_cents, book.id),
        Sort.YEAR_DESC: lambda book: (book.year is not None, book.year, book.id),
    }
    down = sort not in {Sort.TITLE, Sort.PRICE}

    listed: list[Book] = []
    cursor: str | None = None
    while True:
        page = await books.find(conn, BookQuery(sort=sort), cursor=cursor, limit=limit)
        listed += page.items
        cursor = page.next
        if cursor is None:
            break
        assert len(page.items) == limit

    newest = keys.get(sort, lambda book: (book.created_at, book.id))
    assert listed == sorted(everything, key=newest, reverse=down)


def _plain_title(book: Book) -> str:
    return {"Émile": "emile", "'Zadig'": "zadig"}.get(book.title, book.title.lower())


async def test_the_next_page_is_stable_when_books_are_added_and_withdrawn(
    conn: AsyncConnection,
) -> None:
    everything = sorted(await create_books(conn), key=lambda book: (book.price_cents, book.id))
    first = await books.find(conn, BookQuery(sort=Sort.PRICE), limit=5)
    await create_book(conn, price_cents=1)
    await books.withdraw(conn, everything[4].id, 1, user_id=None, now=LATER)

    second = await books.find(conn, BookQuery(sort=Sort.PRICE), cursor=first.next, limit=5)

    assert [book.id for book in second.items] == [book.id for book in everything[5:10]]


@pytest.mark.parametrize("sort", list(Sort))
@pytest.mark.parametrize("cursor", ["", "x", "WzEsMiwzXQ", "WyJhIiwiYiJd", "W251bGwsbnVsbF0", "é"])
async def test_a_cursor_of_another_list_is_rejected(
    conn: AsyncConnection, sort: Sort, cursor: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        await books.find(conn, BookQuery(sort=sort), cursor=cursor)

    assert refusal.value.field == "cursor"


async def test_a_page_of_books_takes_as_many_statements_as_a_single_book(
    conn: AsyncConnection,
) -> None:
    await categories.create(conn, "Fiction", user_id=None, now=NOON)
    for _ in range(5):
        await create_book(conn, categories=["fiction"], authors=["One", "Two"])
    statements: list[str] = []
    listen = conn.sync_connection
    event.listen(listen, "before_cursor_execute", lambda *args: statements.append(args[2]))

    page = await books.find(conn, BookQuery(), limit=5)

    assert len(page.items) == 5
    assert len(statements) == 3


async def test_books_are_found_by_ids_including_withdrawn_ones(conn):
    dune = await create_book(conn, title="Dune")
    emma = await create_book(conn, title="Emma", authors=["Jane Austen"])
    await books.withdraw(conn, emma.id, emma.version, user_id=None, now=NOON)

    found = await books.by_ids(conn, [emma.id, dune.id, 999_999])

    assert {book_id: book.title for book_id, book in found.items()} == {
        dune.id: "Dune",
        emma.id: "Emma",
    }
    assert found[emma.id].authors[0].name == "Jane Austen"
    assert await books.by_ids(conn, []) == {}
