"""Bulk statements, and several statements in one round trip."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from bookstore.database import engine as db
from bookstore.database import failpoints
from bookstore.database.statements import Bulk, BulkQuery, run_queries, run_statements
from tests.counting import count_statements
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


async def heartbeat_names(engine):
    async with db.reading(engine) as conn:
        found = await conn.scalars(text("SELECT name FROM heartbeats ORDER BY name"))
        return found.all()


async def test_statements_run_in_order_and_the_final_query_sees_their_changes(engine):
    async with db.transaction(engine) as conn:
        with count_statements(engine) as statements:
            found = await run_statements(
                conn,
                ADD.of(rows("a", "it's"), now=NOON),
                ADD.of(rows("b: :now %s"), now=NOON),
                answer=FIND.of(rows("a", "it's", "b: :now %s", "c")),
            )

    assert sorted(found) == [["a"], ["b: :now %s"], ["it's"]]
    assert len(statements) == (1 if engine.dialect.name == "mysql" else 3)


async def test_without_a_final_query_the_result_is_empty(engine):
    async with db.transaction(engine) as conn:
        assert await run_statements(conn, ADD.of(rows("a"), now=NOON)) == []

    assert await heartbeat_names(engine) == ["a"]


@pytest.mark.parametrize("index", [0, 1, 2])
async def test_a_failing_statement_raises_at_any_position_and_rolls_all_back(engine, index):
    changes = [ADD.of(rows(name), now=NOON) for name in "abc"]
    changes[index] = ADD.of(rows("x", "x"), now=NOON)

    for answer in (None, FIND.of(rows("a"))):
        with pytest.raises(IntegrityError):
            async with db.transaction(engine) as conn:
                await run_statements(conn, *changes, answer=answer)

    assert await heartbeat_names(engine) == []


async def test_queries_in_one_round_trip_return_their_own_rows(engine):
    async with db.transaction(engine) as conn:
        await ADD(conn, rows("a", "b"), now=NOON)

    async with db.reading(engine) as conn:
        none, both, one = await run_queries(
            conn, FIND.of(rows("c")), FIND.of(rows("a", "b")), FIND.of(rows("b"))
        )

    assert (none, sorted(both), one) == ([], [["a"], ["b"]], [["b"]])


async def test_an_armed_failpoint_stops_between_two_statements(engine, monkeypatch):
    monkeypatch.setattr(failpoints, "_ARMED", failpoints._armed("W2:*:raise:7"))
    changes = ADD.of(rows("a"), now=NOON).with_failpoint("W2", [7]), ADD.of(rows("b"), now=NOON)

    async with db.transaction(engine) as conn:
        with count_statements(engine) as statements, pytest.raises(failpoints.Crash):
            await run_statements(conn, *changes)
        assert len(statements) == 1
        await conn.rollback()
    assert await heartbeat_names(engine) == []
