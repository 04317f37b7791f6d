from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, insert, select, text, update

from bookstore.audit import chain, log
from bookstore.database.tables import audit_chain, audit_log
from bookstore.operations import doctor

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
LATER = NOON + chain.SETTLE_TIME


async def write(conn, number):
    for each in range(number):
        await log.record(
            conn, "change", "book", each, {"price_cents": [each, 100]}, user_id=None, now=NOON
        )


async def find_breaks(conn):
    return [row async for row in chain.verify(conn)]


@pytest.fixture
async def audit_ids(conn):
    """The row ids of a log with three checkpoints of two rows each."""
    for number in range(3):
        await write(conn, 2)
        await chain.add_checkpoint(conn, now=NOON + number * chain.SETTLE_TIME)
    await chain.add_checkpoint(conn, now=NOON + 3 * chain.SETTLE_TIME)
    return [row.id for row in await conn.execute(select(audit_log.c.id).order_by(audit_log.c.id))]


async def test_s42_an_unchanged_log_matches_its_chain(conn, audit_ids):
    digests = (await conn.execute(select(audit_chain.c.digest))).scalars().all()

    assert len(set(digests)) == 3
    assert None not in digests
    assert await find_breaks(conn) == []


@pytest.mark.parametrize(
    "change",
    [
        {"changes": {"price_cents": [0, 1]}},
        {"action": "create"},
        {"object_id": "7"},
        {"at": NOON + timedelta(microseconds=1)},
    ],
)
async def test_s42_a_changed_row_is_detected(conn, audit_ids, change):
    await conn.execute(update(audit_log).where(audit_log.c.id == audit_ids[2]).values(**change))

    assert await find_breaks(conn) == [f"audit rows {audit_ids[1] + 1} to {audit_ids[3]}"]


async def test_s42_a_removed_row_is_detected(conn, audit_ids):
    await conn.execute(delete(audit_log).where(audit_log.c.id == audit_ids[0]))

    findings = [finding async for finding in doctor.examine(conn, now=NOON)]

    assert [(f.invariant, f.row) for f in findings] == [
        ("the audit log matches its hash chain", f"audit rows 1 to {audit_ids[1]}")
    ]


async def test_s42_a_row_inserted_later_is_detected(conn, audit_ids):
    row = (await conn.execute(select(audit_log).where(audit_log.c.id == audit_ids[0]))).one()
    await conn.execute(delete(audit_log).where(audit_log.c.id == audit_ids[0]))
    await conn.execute(insert(audit_log).values(**{**row._mapping, "object_id": "other"}))

    assert len(await find_breaks(conn)) == 1


async def test_s42_recomputing_a_checkpoint_breaks_the_next_one(conn, audit_ids):
    await conn.execute(update(audit_log).where(audit_log.c.id == audit_ids[0]).values(action="no"))
    first = audit_chain.c.up_to_id == audit_ids[1]
    await conn.execute(update(audit_chain).where(first).values(digest=None, marked_at=NOON))
    digest = await chain._digest(conn, 0, audit_ids[1])
    await conn.execute(update(audit_chain).where(first).values(digest=digest))

    assert await find_breaks(conn) == [f"audit rows {audit_ids[1] + 1} to {audit_ids[3]}"]


async def test_s42_a_removed_checkpoint_is_detected(conn, audit_ids):
    await conn.execute(delete(audit_chain).where(audit_chain.c.up_to_id == audit_ids[1]))

    assert f"no checkpoint for audit rows 1 to {audit_ids[1]}" in await find_breaks(conn)


async def test_rows_that_become_visible_late_are_covered_with_the_others(conn):
    await write(conn, 3)
    ids = (await conn.execute(select(audit_log.c.id).order_by(audit_log.c.id))).scalars().all()
    row = (await conn.execute(select(audit_log).where(audit_log.c.id == ids[1]))).one()
    await conn.execute(delete(audit_log).where(audit_log.c.id == ids[1]))
    await chain.add_checkpoint(conn, now=NOON)
    await conn.execute(insert(audit_log).values(**row._mapping))

    await chain.add_checkpoint(conn, now=LATER)

    assert await find_breaks(conn) == []


async def test_deleting_network_addresses_does_not_break_the_chain(conn, audit_ids):
    await conn.execute(update(audit_log).values(address=None))

    assert await find_breaks(conn) == []


async def test_a_long_log_has_many_checkpoints(conn):
    await write(conn, 1)
    [row] = (await conn.execute(select(audit_log))).all()
    rows = [{**row._mapping, "id": row.id + number} for number in range(1, 2 * chain.MAX_ROWS)]
    await conn.execute(insert(audit_log), rows)
    await chain.add_checkpoint(conn, now=NOON)
    await chain.add_checkpoint(conn, now=LATER)

    ends = (await conn.execute(select(audit_chain.c.up_to_id))).scalars().all()

    assert sorted(ends) == [row.id + chain.MAX_ROWS - 1, row.id + 2 * chain.MAX_ROWS - 1]
    assert await find_breaks(conn) == []


async def test_a_concurrent_begin_creates_one_checkpoint(conn):
    await write(conn, 2)
    await chain.add_checkpoint(conn, now=NOON)

    await chain._begin_checkpoint(conn, 0, NOON)

    count = await conn.execute(text("SELECT COUNT(*) FROM audit_chain"))
    assert count.scalar() == 1
