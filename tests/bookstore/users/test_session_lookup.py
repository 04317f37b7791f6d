import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from bookstore.database import engine as db
from bookstore.database import tables
from bookstore.users import accounts, sessions
from bookstore.users.permissions import Role
from bookstore.users.session_lookup import SessionLookup
from tests.counting import count_statements
from tests.factories import add_user

DAY = timedelta(days=1)


@pytest.fixture
def lookup(engine):
    return SessionLookup(engine)


async def begin(engine, user_id=None, lifetime=DAY, **data):
    async with db.transaction(engine) as conn:
        return await sessions.make(
            conn,
            user_id=user_id,
            data=data,
            address="192.0.2.7",
            user_agent=None,
            now=datetime.now(UTC),
            lifetime=lifetime,
        )


async def test_concurrent_lookups_share_a_query_and_each_gets_its_session(engine, lookup):
    ids = [await begin(engine, cart_id=number) for number in range(20)]

    with count_statements(engine.get_execution_options()["reader"]) as statements:
        found = await asyncio.gather(*map(lookup.find, ids))

    assert [session.data for session in found] == [{"cart_id": number} for number in range(20)]
    assert {session.user for session in found} == {None}
    assert len([each for each in statements if "BEGIN" not in each]) == 1


async def test_a_session_of_a_signed_in_user_has_the_user(engine, lookup):
    async with db.transaction(engine) as conn:
        user = await accounts.get(conn, await add_user(conn, role=Role.CLERK))
    session_id = await begin(engine, user_id=user.id)

    session = await lookup.find(session_id)

    assert session.user == user
    assert datetime.now(UTC) - session.created_at < timedelta(minutes=1)
    assert session.last_seen_at == session.created_at


async def test_an_ended_expired_or_unknown_session_is_not_found(engine, lookup):
    ended = await begin(engine)
    expired = await begin(engine, lifetime=timedelta(0))
    async with db.transaction(engine) as conn:
        await sessions.end(conn, ended)
    session_ids = [ended, expired, "", "x" * 43, "half of a pair \ud83d", await begin(engine)]

    found = await asyncio.gather(*map(lookup.find, session_ids))

    assert [session is not None for session in found] == [False] * 5 + [True]


async def test_an_ended_session_is_not_found_by_the_next_request(engine, lookup):
    session_id = await begin(engine)
    others = [asyncio.create_task(lookup.find(session_id)) for _ in range(5)]
    await asyncio.gather(*others)

    async with db.transaction(engine) as conn:
        await sessions.end(conn, session_id)

    assert await lookup.find(session_id) is None


async def test_without_a_database_all_lookups_fail_quickly():
    engine = db.make_engine("mysql+aiomysql://store:none@127.0.0.1:9/store", timeout_s=1)
    lookup = SessionLookup(engine)
    loop = asyncio.get_running_loop()
    started_at = loop.time()

    results = await asyncio.gather(
        *(lookup.find(f"session {number}") for number in range(30)), return_exceptions=True
    )

    assert all(db.is_unavailable(each) for each in results)
    assert loop.time() - started_at < 2
    await engine.dispose()


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "7", "[]", '{"cart_id": "x"}', '{"confirmed_at": "x"}', '{"orders": 7}'],
)
async def test_a_damaged_session_is_not_found_and_the_others_are(engine, lookup, text):
    damaged, sound = await begin(engine), await begin(engine, cart_id=1)
    own = tables.sessions.c.id_hash == sessions.hash_of(damaged)
    async with db.transaction(engine) as conn:
        await conn.execute(update(tables.sessions).where(own).values(data=text))

    found = await asyncio.gather(lookup.find(damaged), lookup.find(sound))

    assert (found[0], found[1].data) == (None, {"cart_id": 1})
