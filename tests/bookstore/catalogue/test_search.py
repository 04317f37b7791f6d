"""Full-text search.

InnoDB's full-text index contains only committed rows, so these tests commit.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.catalogue import books, categories, category_index, search
from bookstore.catalogue.books import BookQuery
from bookstore.database import tables
from bookstore.database.engine import reading, transaction
from tests.factories import NOON, create_book

RINGS = "The Lord of the Rings"


@pytest.fixture(scope="module")
def filled() -> list[Path]:
    """A copy of the catalogue's SQLite file, made by the first test that creates the books."""
    return []


@pytest.fixture
async def catalogue(
    engine: AsyncEngine, filled: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncEngine:
    if engine.dialect.name == "sqlite" and filled:
        shutil.copyfile(filled[0], str(engine.url.database))
        return engine
    async with transaction(engine) as conn:
        for title, author in (
            ("The Fellowship of the Ring (The Lord of the Rings, #1)", "J.R.R. Tolkien"),
            (RINGS, "J.R.R. Tolkien"),
            ("The Hobbit", "J.R.R. Tolkien"),
            ("Ringworld", "Larry Niven"),
            ("It", "Stephen King"),
            ("1984", "George Orwell"),
            ("'Salem's Lot", "Stephen King"),
            ("Les Misérables", "Victor Hugo"),
            ("The Three Musketeers: d'Artagnan", "Alexandre Dumas"),
            ("Spider-Man", "Stan Lee"),
            ("Война и мир", "Лев Толстой"),
            ("三体问题", "刘慈欣"),
            ("ノルウェイの森", "村上春樹"),
            ("کوری", "ژوزه ساراماگو"),
            ("किताब", "प्रेमचंद"),
            ("The Art of C", "Bo Ek"),
        ):
            await create_book(conn, title=title, authors=[author])
        await create_book(
            conn,
            isbn13="9780441172719",
            title="Dune",
            subtitle="A desert epic",
            publisher="Ace Books",
        )
    if engine.dialect.name == "sqlite":
        await engine.dispose()  # Closing the last connection writes everything to the file.
        copy = tmp_path_factory.mktemp("catalogue") / "filled.db"
        filled.append(shutil.copyfile(str(engine.url.database), copy))
    return engine


async def titles(engine: AsyncEngine, query_text: str) -> list[str]:
    async with reading(engine) as conn:
        return [book.title for book in (await books.find(conn, BookQuery(q=query_text))).items]


@pytest.mark.parametrize(
    ("query_text", "found"),
    [
        ("hobbit", ["The Hobbit"]),
        ("HOBB", ["The Hobbit"]),
        ("tolkien ring", [RINGS, "The Fellowship of the Ring (The Lord of the Rings, #1)"]),
        ("rings tolk", [RINGS, "The Fellowship of the Ring (The Lord of the Rings, #1)"]),
        ("it", ["It"]),
        ("the hobbit", ["The Hobbit"]),
        ("it king", ["It"]),
        ("1984", ["1984"]),
        ("salem's lot", ["'Salem's Lot"]),
        ("salem’s lot", ["'Salem's Lot"]),
        ("salem lot", ["'Salem's Lot"]),
        ("miserables", ["Les Misérables"]),
        ("MISÉRABLES hugo", ["Les Misérables"]),
        ("artagnan", ["The Three Musketeers: d'Artagnan"]),
        ("d'artagnan", ["The Three Musketeers: d'Artagnan"]),
        ("spider-man", ["Spider-Man"]),
        ("spiderman", ["Spider-Man"]),
        ("spider man", ["Spider-Man"]),
        ("война", ["Война и мир"]),
        ("и мир", ["Война и мир"]),
        ("三体", ["三体问题"]),
        ("问题", ["三体问题"]),
        ("题", ["三体问题"]),
        ("刘慈", ["三体问题"]),
        ("三题", []),
        ("森", ["ノルウェイの森"]),
        ("ノルウェイ 村上", ["ノルウェイの森"]),
        ("کوری", ["کوری"]),
        ("ژوزه", ["کوری"]),
        ("किताब", ["किताब"]),
        ("desert epic", ["Dune"]),
        ("ace", ["Dune"]),
        ("art c", ["The Art of C"]),
        ("nothing like this", []),
    ],
)
async def test_books_are_found_by_words(
    catalogue: AsyncEngine, query_text: str, found: Sequence[str]
) -> None:
    assert sorted(await titles(catalogue, query_text)) == sorted(found)


@pytest.mark.parametrize(
    "query_text",
    ["9780441172719", "978-0-441-17271-9", "0-441-17271-7", "ISBN 0441172717", "97804411 herbert"],
)
async def test_a_book_is_found_by_its_isbn_in_any_spelling(
    catalogue: AsyncEngine, query_text: str
) -> None:
    if query_text.endswith("herbert"):
        query_text = "herbert 97804411"

    assert await titles(catalogue, query_text) == ["Dune"]


@pytest.mark.parametrize(
    "query_text",
    [
        '"',
        "'",
        '"hobbit',
        "hobbit)",
        "((hobbit",
        "+hobbit -",
        "hobbit*",
        "***hobbit",
        "@hobbit",
        "~hobbit <>",
        "hobbit AND",
        "hobbit OR NOT",
        "NEAR(hobbit)",
        "title:hobbit",
        "words : hobbit",
        "^hobbit",
        "hobbit\\",
        "hobbit; DROP TABLE books; --",
        "%hobbit_",
        ":hobbit",
        "hob\x00bit",
        "\ud800hobbit",
        "hobbit 🚀",
        "𠀀 hobbit",
        "e\u0301",
        "🚀",
        "!!!",
        "а" * 500,
        "hobbit " * 300,
        "の" * 300,
        "the of and to in is it",
        "a",
        "NOT",
    ],
)
async def test_no_query_text_causes_an_error(catalogue: AsyncEngine, query_text: str) -> None:
    await titles(catalogue, query_text)


@pytest.mark.parametrize("query_text", ['"hobbit"', "+hobbit*", "(hobbit)", "hobbit 🚀", ":hobbit"])
async def test_punctuation_is_not_an_operator(catalogue: AsyncEngine, query_text: str) -> None:
    assert await titles(catalogue, query_text) == ["The Hobbit"]


async def test_a_query_without_letters_or_digits_finds_nothing(catalogue: AsyncEngine) -> None:
    assert await titles(catalogue, "🚀!") == []


async def test_a_blank_query_lists_all_books(catalogue: AsyncEngine) -> None:
    assert len(await titles(catalogue, "  ")) == 17


async def test_an_exact_title_ranks_first_then_titles_that_begin_with_the_words(
    engine: AsyncEngine,
) -> None:
    async with transaction(engine) as conn:
        for title, author in (
            ("Of Dunes and Men", "Someone"),
            ("Emma", "Dune Smith"),
            ("Dune Messiah", "Frank Herbert"),
            ("Dunes", "Someone"),
            ("Dune", "Frank Herbert"),
        ):
            await create_book(conn, title=title, authors=[author])

    assert await titles(engine, "dune") == [
        "Dune",
        "Dune Messiah",
        "Dunes",
        "Of Dunes and Men",
        "Emma",
    ]


async def test_pages_of_search_results_contain_each_book_once(engine: AsyncEngine) -> None:
    async with transaction(engine) as conn:
        for number in range(7):
            await create_book(conn, title="Dune" if number % 2 else "Children of Dune")

    listed: list[tuple[str, int]] = []
    cursor = None
    async with reading(engine) as conn:
        while True:
            page = await books.find(conn, BookQuery(q="dune"), cursor=cursor, limit=2)
            listed += [(book.title, book.id) for book in page.items]
            cursor = page.next
            if cursor is None:
                break

    assert len(listed) == 7
    assert listed == sorted(listed, key=lambda book: (book[0] != "Dune", book[1]))


async def test_search_results_can_be_filtered_and_sorted(catalogue: AsyncEngine) -> None:
    async with transaction(catalogue) as conn:
        await create_book(conn, title="Hobbit Cheap", price_cents=1)

    async with reading(catalogue) as conn:
        page = await books.find(
            conn, BookQuery(q="hobbit", max_price_cents=5000, sort=books.Sort.PRICE)
        )

    assert [book.title for book in page.items] == ["Hobbit Cheap", "The Hobbit"]


async def test_a_renamed_book_is_found_only_by_its_new_title(catalogue: AsyncEngine) -> None:
    async with transaction(catalogue) as conn:
        dune = await books.by_isbn(conn, "9780441172719")
        await books.change(
            conn, dune.id, 1, {"title": "Arrakis", "authors": ["F. H."]}, user_id=None, now=NOON
        )

    assert await titles(catalogue, "arrakis") == ["Arrakis"]
    assert await titles(catalogue, "f.h. arrakis") == ["Arrakis"]
    assert await titles(catalogue, "dune") == []


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  Les   MISÉRABLES! ", "les miserables"),
        ("Straße, Łódź & Ørsted", "strasse lodz orsted"),
        ("Salem’s", "salems"),
        ("ＡＢＣ　１２３", "abc 123"),
        ("e\u0301tude", "etude"),
        ("한국", "한국"),
        ("?!", ""),
    ],
)
def test_text_is_normalized(text: str, plain: str) -> None:
    assert search.normalize(text) == plain


async def test_an_exact_title_ranks_first_however_many_books_contain_the_word(
    engine: AsyncEngine,
) -> None:
    last_number = search.MAX_COMPARED + 100
    columns = {"price_cents": 990, "version": 1, "created_at": NOON, "updated_at": NOON}
    titles = {number: f"All about War, part {number}" for number in range(1, last_number)}
    titles |= {last_number: "War and Something", last_number + 1: "War"}
    async with transaction(engine) as conn:
        await conn.execute(
            insert(tables.books),
            [
                {"id": it, "isbn13": f"9798{it:09}", "title": title}
                | columns
                | {"sort_title": books.sort_title(title)}
                for it, title in titles.items()
            ],
        )
        await conn.execute(
            insert(tables.book_stock), [{"book_id": it, "stock": 1} for it in titles]
        )
        german = tables.books.c.id.in_([last_number - 1, last_number + 1])
        await conn.execute(update(tables.books).where(german).values(language="de"))
        await categories.create(conn, "History", user_id=None, now=NOON)
        history = await conn.scalar(select(tables.categories.c.id))
        await category_index.add(conn, [(1, history, 0), (last_number, history, 0)])
        await search.index(
            conn,
            {
                it: search.SearchEntry(f"9798{it:09}", title, None, None, ["Ann"]).words()
                for it, title in titles.items()
            },
        )

    for query, found in (
        (BookQuery(q="war"), ["War", "War and Something"]),
        (BookQuery(q="war", in_stock=True, max_price_cents=990), ["War", "War and Something"]),
        # An exact title, and the match that would be found last.
        (BookQuery(q="war", language="de"), ["War", f"All about War, part {last_number - 1}"]),
        (BookQuery(q="war", category="history"), ["War and Something", "All about War, part 1"]),
        (BookQuery(q="war", in_stock=False), []),
    ):
        async with reading(engine) as conn:
            page = await books.find(conn, query, limit=2)
        assert [book.title for book in page.items] == found, query
