from datetime import timedelta

import pytest
from sqlalchemy import select

from bookstore.database.tables import sessions as table
from bookstore.users import sessions
from tests.factories import NOON, add_user

DAY = timedelta(days=1)


async def begin(conn, user_id=None, **data):
    return await sessions.make(
        conn,
        user_id=user_id,
        data=data,
        address="192.0.2.7",
        user_agent="A browser " * 100,
        now=NOON,
        lifetime=DAY,
    )


async def test_a_session_is_found_by_its_id(conn):
    session_id = await begin(conn, cart_id=7)

    session = await sessions.find(conn, session_id, now=NOON)

    assert (session.user_id, session.data, session.address) == (None, {"cart_id": 7}, "192.0.2.7")


async def test_the_table_does_not_hold_the_id(conn):
    session_id = await begin(conn)

    [row] = (await conn.execute(select(table))).all()

    assert session_id not in str(row)


@pytest.mark.parametrize("made_up", ["", "x" * 43, "half of a pair \ud83d", "ü" * 5000])
async def test_a_made_up_id_finds_nothing(conn, made_up):
    await begin(conn)

    assert await sessions.find(conn, made_up, now=NOON) is None


async def test_a_session_ends_when_it_expires(conn):
    session_id = await begin(conn)

    assert await sessions.find(conn, session_id, now=NOON + DAY - timedelta(seconds=1))
    assert await sessions.find(conn, session_id, now=NOON + DAY) is None


async def test_the_data_of_a_session_is_stored(conn):
    session_id = await begin(conn)

    await sessions.save(conn, session_id, user_id=None, data={"cart_id": 8}, now=NOON)

    assert (await sessions.find(conn, session_id, now=NOON)).data == {"cart_id": 8}


async def test_saving_does_not_restore_an_ended_session(conn):
    session_id = await begin(conn)
    await sessions.end(conn, session_id)

    saved = await sessions.save(conn, session_id, user_id=None, data={"cart_id": 8}, now=NOON)

    assert not saved
    assert await sessions.find(conn, session_id, now=NOON) is None


async def test_last_seen_is_updated_at_most_once_a_minute(conn):
    session_id = await begin(conn)
    seen = []

    for seconds in (59, 60, 100, 120):
        await sessions.touch(conn, session_id, now=NOON + timedelta(seconds=seconds))
        session = await sessions.find(conn, session_id, now=NOON)
        seen.append((session.last_seen_at - NOON).seconds)

    assert seen == [0, 60, 60, 120]


async def test_all_sessions_of_a_user_end_but_one(conn):
    anna, boris = await add_user(conn), await add_user(conn)
    here, elsewhere, of_boris = [await begin(conn, who) for who in (anna, anna, boris)]

    await sessions.end_all(conn, anna, except_id=here)

    assert await sessions.find(conn, here, now=NOON)
    assert await sessions.find(conn, elsewhere, now=NOON) is None
    assert await sessions.find(conn, of_boris, now=NOON)


async def test_expired_sessions_are_purged(conn):
    await begin(conn)

    assert await sessions.purge(conn, now=NOON) == 0
    assert await sessions.purge(conn, now=NOON + DAY) == 1
