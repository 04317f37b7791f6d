from datetime import timedelta

from bookstore.audit import log
from bookstore.database.tables import audit_log
from bookstore.operations import housekeeping
from bookstore.tasks import failures, outbox
from bookstore.tasks.outbox import MAX_ATTEMPTS, Task
from tests.factories import NOON


async def test_every_failed_attempt_is_recorded(conn):
    await outbox.add(conn, Task.PROCESS_ORDERS, [7], now=NOON)

    for number in range(MAX_ATTEMPTS):
        await outbox.start_attempts(conn, Task.PROCESS_ORDERS, [7])
        at = NOON + timedelta(minutes=number)
        await outbox.fail(conn, Task.PROCESS_ORDERS, 7, f"error {number}", now=at)

    found = await failures.of(conn, Task.PROCESS_ORDERS, 7)
    assert [(it.attempt, it.error) for it in found] == [(n + 1, f"error {n}") for n in range(5)]
    assert await failures.of(conn, Task.SEND_NOTIFICATIONS, 7) == []


async def test_old_failures_are_deleted(conn):
    await failures.record(conn, Task.PROCESS_ORDERS, [(7, 1, "old")], now=NOON)
    later = NOON + timedelta(days=9)
    await failures.record(conn, Task.PROCESS_ORDERS, [(7, 2, "x" * 5000)], now=later)

    await housekeeping.run(conn, now=NOON + housekeeping.FAILURE_RETENTION + timedelta(days=1))

    (remaining,) = await failures.of(conn, Task.PROCESS_ORDERS, 7)
    assert remaining.attempt == 2
    assert len(remaining.error) == failures.ERROR_LENGTH


async def test_the_audit_log_records_the_address(conn):
    token = log.ADDRESS.set("192.0.2.7")
    await log.record(conn, "change", "book", 7, {}, user_id=None, now=NOON)
    log.ADDRESS.reset(token)
    await log.record(conn, "change", "book", 8, {}, user_id=None, now=NOON)

    found = await conn.execute(audit_log.select().order_by(audit_log.c.id))
    assert [row.address for row in found] == ["192.0.2.7", None]
