import pytest
from sqlalchemy import select

from bookstore.database import engine as db
from bookstore.database.tables import audit_log
from bookstore.errors import NotFound
from bookstore.tasks import outbox
from bookstore.tasks.outbox import MAX_ATTEMPTS, Task, TaskRef
from tests.factories import NOON, add_user


async def make_dead_task(conn, ref_id=1):
    await outbox.add(conn, Task.PROCESS_ORDERS, [ref_id], now=NOON)
    for _ in range(MAX_ATTEMPTS):
        await outbox.start_attempts(conn, Task.PROCESS_ORDERS, [ref_id])
    assert await outbox.fail(conn, Task.PROCESS_ORDERS, ref_id, "no such thing", now=NOON)
    (dead,) = await outbox.find(conn, dead=True)
    return dead


async def test_tasks_are_announced_after_the_commit(engine):
    announced = []
    announcing = db.announcing(engine, announced.extend)

    async with db.transaction(announcing) as conn:
        await outbox.add(conn, Task.PROCESS_ORDERS, [7], now=NOON)
        assert announced == []

    assert announced == [TaskRef(Task.PROCESS_ORDERS, 7)]


async def test_tasks_of_a_rolled_back_transaction_are_not_announced(engine):
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


async def test_a_dead_task_has_its_error_and_is_counted_separately(conn):
    dead = await make_dead_task(conn)
    await outbox.add(conn, Task.PROCESS_ORDERS, [2], now=NOON)

    assert (dead.ref_id, dead.error, dead.dead_at) == (1, "no such thing", NOON)
    assert await outbox.count(conn) == {"waiting": 1, "dead": 1}
    assert [row.ref_id for row in await outbox.find(conn, dead=False)] == [2]


async def test_a_replay_resets_the_attempts_and_is_in_the_audit_log(conn):
    staff_id = await add_user(conn)
    dead = await make_dead_task(conn)

    replayed = await outbox.replay(conn, dead.id, user_id=staff_id, now=NOON)

    assert (replayed.attempts, replayed.dead_at, replayed.due_at) == (0, None, NOON)
    entry = (await conn.execute(select(audit_log))).one()
    assert (entry.action, entry.user_id, entry.changes) == (
        "replay",
        staff_id,
        {"error": ["no such thing", None]},
    )


async def test_a_discarded_task_is_deleted_and_its_reason_is_in_the_audit_log(conn):
    dead = await make_dead_task(conn)

    await outbox.delete_dead(conn, dead, "a test order", user_id=None, now=NOON)

    assert await outbox.count(conn) == {"waiting": 0, "dead": 0}
    entry = (await conn.execute(select(audit_log))).one()
    assert entry.changes["reason"] == [None, "a test order"]


@pytest.mark.parametrize("change", [outbox.replay, outbox.get])
async def test_a_finished_task_is_not_found(conn, change):
    facts = {} if change is outbox.get else {"user_id": None, "now": NOON}

    with pytest.raises(NotFound):
        await change(conn, 4711, **facts)
