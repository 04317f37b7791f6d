import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bookstore.database import engine as db
from bookstore.users import accounts, sessions
from bookstore.users.permissions import Role
from bookstore.users.session_lookup import SessionLookup
from tests.counting import counted
from tests.factories import add_user

DAY = timedelta(days=1)


@pytest.fixture
def visits(engine):
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


async def test_those_who_come_at_once_share_a_query_and_each_is_known(engine, visits):
    ids = [await begin(engine, cart_id=number) for number in range(20)]

    with counted(engine.get_execution_options()["reader"]) as statements:
        found = await asyncio.gather(*map(visits.of, ids))

    assert [visit.data for visit in found] == [{"cart_id": number} for number in range(20)]
    assert {visit.user for visit in found} == {None}
    assert len([it for it in statements if "BEGIN" not in it]) == 1


async def test_whoever_is_signed_in_is_known(engine, visits):
    async with db.transaction(engine) as conn:
        user = await accounts.get(conn, await add_user(conn, role=Role.CLERK))
    session_id = await begin(engine, user_id=user.id)

    visit = await visits.of(session_id)

    assert visit.user == user
    assert datetime.now(UTC) - visit.created_at < timedelta(minutes=1)
    assert visit.last_seen_at == visit.created_at


async def test_what_ended_expired_or_never_was_is_nobodys(engine, visits):
    ended = await begin(engine)
    expired = await begin(engine, lifetime=timedelta(0))
    async with db.transaction(engine) as conn:
        await sessions.end(conn, ended)
    wanted = [ended, expired, "", "x" * 43, "half of a pair \ud83d", await begin(engine)]

    found = await asyncio.gather(*map(visits.of, wanted))

    assert [visit is not None for visit in found] == [False] * 5 + [True]


async def test_a_session_that_ends_is_over_for_the_next_request(engine, visits):
    session_id = await begin(engine)
    others = [asyncio.create_task(visits.of(session_id)) for _ in range(5)]
    await asyncio.gather(*others)

    async with db.transaction(engine) as conn:
        await sessions.end(conn, session_id)

    assert await visits.of(session_id) is None


async def test_without_a_database_everybody_learns_it_at_once():
    engine = db.make_engine("mysql+aiomysql://store:none@127.0.0.1:9/store", timeout_s=1)
    visits = SessionLookup(engine)
    loop = asyncio.get_running_loop()
    begun_at = loop.time()

    answers = await asyncio.gather(
        *(visits.of(f"session {number}") for number in range(30)), return_exceptions=True
    )

    assert all(db.is_away(it) for it in answers)
    assert loop.time() - begun_at < 2
    await engine.dispose()
