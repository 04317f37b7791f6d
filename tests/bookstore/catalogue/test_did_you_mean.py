"""Spelling suggestions for words that are one typing error away from a word of the catalogue."""

import pytest

from bookstore.catalogue import did_you_mean
from bookstore.database import engine as db
from tests.factories import create_book


@pytest.fixture
async def catalogue(engine):
    # Committed, because InnoDB's full-text index contains only committed rows.
    async with db.transaction(engine) as conn:
        await create_book(conn, title="The Idiot", authors=["Fyodor Dostoyevsky"])
        await create_book(conn, title="Les Misérables", authors=["Victor Hugo"])
        await create_book(conn, title="Война и мир", authors=["Лев Толстой"])


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("dostoyevski", "dostoyevsky"),  # one letter replaced
        ("dostoevsky idiot", "dostoyevsky idiot"),  # one letter missing
        ("dostoyyevsky", "dostoyevsky"),  # one letter added
        ("Dostoyevksy", "dostoyevsky"),  # two letters swapped
        ("misèrables", None),  # accents do not count as errors
        ("miserabels idiit", "miserables idiot"),
        ("толсиой", "толстой"),
        ("idi", None),
        ("978", None),
        ("xqzjwv", None),
    ],
)
async def test_a_word_with_one_typing_error_is_corrected(conn, typed, expected):
    found = await did_you_mean.candidates(conn, typed)

    assert found[:1] == ([expected] if expected else [])


async def test_the_suggestion_is_the_first_candidate_that_finds_a_book(engine):
    async with db.transaction(engine) as conn:
        await create_book(conn, title="Harry Potter and the Philosopher's Stone")
        await create_book(conn, title="Hara, hard, hare, hark: words for readers")

    async with db.reading(engine) as conn:
        assert await did_you_mean.suggest(conn, "hary poter") == "harry potter"
        assert await did_you_mean.suggest(conn, "hary readers") == "hara readers"
        assert await did_you_mean.suggest(conn, "hary zzzz") is None
        assert await did_you_mean.suggest(conn, "harry potter") is None


@pytest.mark.usefixtures("catalogue")
async def test_a_very_long_query_has_no_candidates(conn):
    assert await did_you_mean.candidates(conn, "ж" * 300 + " абвгдежзийклмнопрст" * 30) == []
