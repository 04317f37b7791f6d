import pytest
from sqlalchemy import select

from bookstore.database import engine as db
from bookstore.database.tables import audit_log
from bookstore.errors import NotFound
from bookstore.tasks import outbox
from bookstore.tasks.outbox import MAX_ATTEMPTS, Offer, Task
from tests.factories import NOON, add_user


async def fail_for_good(conn, ref_id=1):
    await outbox.add(conn, Task.PROCESS_ORDERS, [ref_id], now=NOON)
    for _ in range(MAX_ATTEMPTS):
        await outbox.start(conn, Task.PROCESS_ORDERS, [ref_id])
    assert await outbox.fail(conn, Task.PROCESS_ORDERS, ref_id, "no such thing", now=NOON)
    (dead,) = await outbox.find(conn, dead=True)
    return dead


async def test_what_a_transaction_wrote_is_announced_once_it_is_committed(engine):
    announced = []
    announcing = db.announcing(engine, announced.extend)

    async with db.transaction(announcing) as conn:
        await outbox.add(conn, Task.PROCESS_ORDERS, [7], now=NOON)
        assert announced == []

    assert announced == [Offer(Task.PROCESS_ORDERS, 7)]


async def test_what_a_transaction_undid_is_not_announced(engine):
    announced = []
    announcing = db.announcing(engine, announced.extend)

    async def fail():
        async with db.transaction(announcing) as conn:
            await outbox.add(conn, Task.PROCESS_ORDERS, [7], now=NOON)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    assert announced == []
    async with db.reading(engine) as conn:
        assert await outbox.count(conn) == {"waiting": 0, "dead": 0}


async def test_a_parked_task_tells_why_and_is_counted_apart(conn):
    dead = await fail_for_good(conn)
    await outbox.add(conn, Task.PROCESS_ORDERS, [2], now=NOON)

    assert (dead.ref_id, dead.error, dead.dead_at) == (1, "no such thing", NOON)
    assert await outbox.count(conn) == {"waiting": 1, "dead": 1}
    assert [row.ref_id for row in await outbox.find(conn, dead=False)] == [2]


async def test_a_replayed_task_has_all_its_attempts_again_and_the_replay_is_on_record(conn):
    clerk = await add_user(conn)
    dead = await fail_for_good(conn)

    again = await outbox.replay(conn, dead.id, user_id=clerk, now=NOON)

    assert (again.attempts, again.dead_at, again.due_at) == (0, None, NOON)
    record = (await conn.execute(select(audit_log))).one()
    assert (record.action, record.user_id, record.changes) == (
        "replay",
        clerk,
        {"error": ["no such thing", None]},
    )


async def test_a_discarded_task_is_gone_and_the_reason_is_on_record(conn):
    dead = await fail_for_good(conn)

    await outbox.discard(conn, dead.id, "a test order", user_id=None, now=NOON)

    assert await outbox.count(conn) == {"waiting": 0, "dead": 0}
    record = (await conn.execute(select(audit_log))).one()
    assert record.changes["reason"] == [None, "a test order"]


@pytest.mark.parametrize("change", [outbox.replay, outbox.get])
async def test_a_task_that_is_done_is_not_found(conn, change):
    facts = {} if change is outbox.get else {"user_id": None, "now": NOON}

    with pytest.raises(NotFound):
        await change(conn, 4711, **facts)
