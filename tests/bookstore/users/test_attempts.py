import asyncio
from datetime import timedelta

import pytest

from bookstore.database.engine import retry_transaction, transaction
from bookstore.database.tables import failed_attempts as table
from bookstore.users import attempts
from bookstore.users.attempts import Rule
from tests.factories import NOON

MINUTE = timedelta(minutes=1)
RULE = Rule(5, timedelta(seconds=1), 15 * MINUTE)


async def count_checked(conn, seconds, *, rule=RULE, name="account anna@example.com"):
    """How many attempts are allowed for an attacker who tries without a break."""
    checked, at, end = 0, NOON, NOON + timedelta(seconds=seconds)
    while at < end:
        wait_s = await attempts.count(conn, {name: rule}, now=at)
        checked += wait_s == 0
        at += timedelta(seconds=wait_s)
    return checked


async def test_repeated_failures_get_slower_and_slower(conn):
    assert await count_checked(conn, 600) <= 20


ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@ONE_DATABASE
async def test_s06_of_ten_thousand_attempts_in_ten_minutes_at_most_twenty_are_checked(conn):
    names = {"account anna@example.com": RULE}
    checked = 0

    for number in range(10_000):
        at = NOON + number * timedelta(milliseconds=60)
        # As in `web/auth/login_throttle.py`: the wait is looked up without a lock first.
        if await attempts.wait_s(conn, names, now=at) == 0:
            checked += await attempts.count(conn, names, now=at) == 0

    assert 5 < checked <= 20


@ONE_DATABASE
async def test_s06_a_thousand_accounts_are_slow_from_one_network(conn):
    network = Rule(50, timedelta(seconds=1), 15 * MINUTE)
    checked = 0

    for number in range(1000):
        names = {f"account {number}": RULE, "network 192.0.2.0/24": network}
        at = NOON + timedelta(seconds=number * 0.6)  # A thousand in ten minutes.
        checked += await attempts.count(conn, names, now=at) == 0

    assert checked < 65


async def test_an_attempt_that_must_wait_is_not_counted_again(conn):
    names = {"anna": Rule(1, MINUTE, 15 * MINUTE)}
    await attempts.count(conn, names, now=NOON)

    waits = [
        await attempts.count(conn, names, now=NOON + timedelta(seconds=at))
        for at in (1, 30, 59, 60)
    ]

    assert waits == [59, 30, 1, 0]


async def test_failures_expire_after_the_longest_pause(conn):
    for second in range(100):
        await attempts.count(conn, {"anna": RULE}, now=NOON + timedelta(seconds=second))

    later = NOON + timedelta(seconds=100) + RULE.longest_pause

    assert await attempts.wait_s(conn, {"anna": RULE}, now=later) == 0
    assert [await attempts.count(conn, {"anna": RULE}, now=later) for _ in range(6)] == [0] * 5 + [
        1
    ]


async def test_failures_can_be_undone_or_forgotten(conn):
    names = {"anna": Rule(2, MINUTE, MINUTE), "network": Rule(2, MINUTE, MINUTE)}
    for _ in range(2):
        await attempts.count(conn, names, now=NOON)

    await attempts.forget(conn, ["anna"])
    await attempts.undo(conn, ["network"])

    assert await attempts.wait_s(conn, names, now=NOON) == 0


async def test_concurrent_attempts_do_not_exceed_the_limit(engine):
    async def work():
        async with transaction(engine) as conn:
            return await attempts.count(conn, {"a": RULE, "b": RULE}, now=NOON)

    waits = await asyncio.gather(*(retry_transaction(work) for _ in range(8)))

    assert sorted(waits) == [0] * 5 + [1] * 3


async def test_names_are_not_in_the_table(conn):
    await attempts.count(conn, {"anna@example.com": RULE}, now=NOON)

    [row] = await conn.execute(table.select())

    assert "anna" not in str(row)


@pytest.mark.parametrize(("later", "left"), [(timedelta(), 1), (RULE.longest_pause, 0)])
async def test_expired_failures_are_purged(conn, later, left):
    await attempts.count(conn, {"anna": RULE}, now=NOON)

    await attempts.purge(conn, now=NOON + later)

    assert len((await conn.execute(table.select())).all()) == left
