"""Words that are one slip away from those of the catalogue."""

import pytest

from bookstore.catalogue import did_you_mean
from bookstore.database import engine as db
from tests.factories import create_book


@pytest.fixture
async def shelf(engine):
    # Committed, because InnoDB finds no words before.
    async with db.transaction(engine) as conn:
        await create_book(conn, title="The Idiot", authors=["Fyodor Dostoyevsky"])
        await create_book(conn, title="Les Misérables", authors=["Victor Hugo"])
        await create_book(conn, title="Война и мир", authors=["Лев Толстой"])


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("dostoyevski", "dostoyevsky"),  # wrong
        ("dostoevsky idiot", "dostoyevsky idiot"),  # too few
        ("dostoyyevsky", "dostoyevsky"),  # too many
        ("Dostoyevksy", "dostoyevsky"),  # changed places
        ("misèrables", None),  # accents are no slip
        ("miserabels idiit", "miserables idiot"),
        ("толсиой", "толстои"),
        ("idi", None),
        ("978", None),
        ("xqzjwv", None),
    ],
)
async def test_a_word_with_one_slip_is_understood(conn, typed, meant):
    found = await did_you_mean.readings(conn, typed)

    assert found[:1] == ([meant] if meant else [])


async def test_the_reading_that_finds_a_book_is_meant(engine):
    async with db.transaction(engine) as conn:
        await create_book(conn, title="Harry Potter and the Philosopher's Stone")
        await create_book(conn, title="Hara, hard, hare, hark: words for readers")

    async with db.reading(engine) as conn:
        assert await did_you_mean.meant(conn, "hary poter") == "harry potter"
        assert await did_you_mean.meant(conn, "hary readers") == "hara readers"
        assert await did_you_mean.meant(conn, "hary zzzz") is None
        assert await did_you_mean.meant(conn, "harry potter") is None


@pytest.mark.usefixtures("shelf")
async def test_no_question_is_too_much(conn):
    assert await did_you_mean.readings(conn, "ж" * 300 + " абвгдежзийклмнопрст" * 30) == []
