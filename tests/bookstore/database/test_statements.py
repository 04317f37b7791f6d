"""Statements that go to the database together."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from bookstore.database import engine as db
from bookstore.database import failpoints
from bookstore.database.statements import Bulk, BulkQuery, ask, in_one_trip
from tests.counting import counted
from tests.factories import NOON

ADD = Bulk(
    "name VARCHAR(100)",
    "INSERT INTO heartbeats (name, beat_at) SELECT v.name, :now FROM {rows} AS v",
)
FIND = BulkQuery(
    "name VARCHAR(100)",
    "h.name",
    "FROM {rows} AS v {join} heartbeats AS h ON h.name = v.name",
)


def rows(*names):
    return [(name,) for name in names]


async def beating(engine):
    async with db.reading(engine) as conn:
        found = await conn.scalars(text("SELECT name FROM heartbeats ORDER BY name"))
        return found.all()


async def test_changes_are_made_in_their_order_and_the_answer_knows_of_them(engine):
    async with db.transaction(engine) as conn:
        with counted(engine) as statements:
            found = await in_one_trip(
                conn,
                ADD.of(rows("a", "it's"), now=NOON),
                ADD.of(rows("b: :now %s"), now=NOON),
                answer=FIND.of(rows("a", "it's", "b: :now %s", "c")),
            )

    assert sorted(found) == [["a"], ["b: :now %s"], ["it's"]]
    assert len(statements) == (1 if engine.dialect.name == "mysql" else 3)


async def test_without_a_question_there_is_no_answer(engine):
    async with db.transaction(engine) as conn:
        assert await in_one_trip(conn, ADD.of(rows("a"), now=NOON)) == []

    assert await beating(engine) == ["a"]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_that_fails_is_told_of_wherever_it_stands_and_undoes_all(engine, place):
    changes = [ADD.of(rows(name), now=NOON) for name in "abc"]
    changes[place] = ADD.of(rows("x", "x"), now=NOON)

    for answer in (None, FIND.of(rows("a"))):
        with pytest.raises(IntegrityError):
            async with db.transaction(engine) as conn:
                await in_one_trip(conn, *changes, answer=answer)

    assert await beating(engine) == []


async def test_what_finds_nothing_says_so_beside_what_finds_something(engine):
    async with db.transaction(engine) as conn:
        await ADD(conn, rows("a", "b"), now=NOON)

    async with db.reading(engine) as conn:
        none, both, one = await ask(
            conn, FIND.of(rows("c")), FIND.of(rows("a", "b")), FIND.of(rows("b"))
        )

    assert (none, sorted(both), one) == ([], [["a"], ["b"]], [["b"]])


async def test_a_test_can_stop_between_two_of_them(engine, monkeypatch):
    monkeypatch.setattr(failpoints, "_ARMED", failpoints._armed("W2:*:raise:7"))
    changes = ADD.of(rows("a"), now=NOON).passing("W2", [7]), ADD.of(rows("b"), now=NOON)

    async with db.transaction(engine) as conn:
        with counted(engine) as statements, pytest.raises(failpoints.Crash):
            await in_one_trip(conn, *changes)
        assert len(statements) == 1
        await conn.rollback()
    assert await beating(engine) == []
