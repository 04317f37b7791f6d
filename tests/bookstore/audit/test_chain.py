from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, insert, select, text, update

from bookstore.audit import chain, log
from bookstore.database.tables import audit_chain, audit_log
from bookstore.operations import doctor

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
LATER = NOON + chain.SETTLED


async def write(conn, number):
    for each in range(number):
        await log.record(
            conn, "change", "book", each, {"price_cents": [each, 100]}, user_id=None, now=NOON
        )


async def broken(conn):
    return [row async for row in chain.broken(conn)]


@pytest.fixture
async def sealed(conn):
    """A log with three seals, of two rows each."""
    for number in range(3):
        await write(conn, 2)
        await chain.seal(conn, now=NOON + number * chain.SETTLED)
    await chain.seal(conn, now=NOON + 3 * chain.SETTLED)
    return [row.id for row in await conn.execute(select(audit_log.c.id).order_by(audit_log.c.id))]


async def test_s42_a_log_that_nobody_touched_is_whole(conn, sealed):
    digests = (await conn.execute(select(audit_chain.c.digest))).scalars().all()

    assert len(set(digests)) == 3
    assert None not in digests
    assert await broken(conn) == []


@pytest.mark.parametrize(
    "change",
    [
        {"changes": {"price_cents": [0, 1]}},
        {"action": "create"},
        {"object_id": "7"},
        {"at": NOON + timedelta(microseconds=1)},
    ],
)
async def test_s42_a_changed_row_is_found(conn, sealed, change):
    await conn.execute(update(audit_log).where(audit_log.c.id == sealed[2]).values(**change))

    assert await broken(conn) == [f"audit rows {sealed[1] + 1} to {sealed[3]}"]


async def test_s42_a_removed_row_is_found(conn, sealed):
    await conn.execute(delete(audit_log).where(audit_log.c.id == sealed[0]))

    findings = [finding async for finding in doctor.examine(conn, now=NOON)]

    assert [(f.invariant, f.row) for f in findings] == [
        ("the audit log is as it was written", f"audit rows 1 to {sealed[1]}")
    ]


async def test_s42_a_row_put_in_later_is_found(conn, sealed):
    row = (await conn.execute(select(audit_log).where(audit_log.c.id == sealed[0]))).one()
    await conn.execute(delete(audit_log).where(audit_log.c.id == sealed[0]))
    await conn.execute(insert(audit_log).values(**{**row._mapping, "object_id": "other"}))

    assert len(await broken(conn)) == 1


async def test_s42_sealing_a_changed_row_anew_breaks_the_next_seal(conn, sealed):
    await conn.execute(update(audit_log).where(audit_log.c.id == sealed[0]).values(action="no"))
    first = audit_chain.c.up_to_id == sealed[1]
    await conn.execute(update(audit_chain).where(first).values(digest=None, marked_at=NOON))
    digest = await chain._digest(conn, 0, sealed[1])
    await conn.execute(update(audit_chain).where(first).values(digest=digest))

    assert await broken(conn) == [f"audit rows {sealed[1] + 1} to {sealed[3]}"]


async def test_s42_a_removed_seal_is_found(conn, sealed):
    await conn.execute(delete(audit_chain).where(audit_chain.c.up_to_id == sealed[1]))

    assert f"no seal on audit rows 1 to {sealed[1]}" in await broken(conn)


async def test_rows_that_become_visible_late_are_sealed_with_the_others(conn):
    await write(conn, 3)
    ids = (await conn.execute(select(audit_log.c.id).order_by(audit_log.c.id))).scalars().all()
    row = (await conn.execute(select(audit_log).where(audit_log.c.id == ids[1]))).one()
    await conn.execute(delete(audit_log).where(audit_log.c.id == ids[1]))
    await chain.seal(conn, now=NOON)
    await conn.execute(insert(audit_log).values(**row._mapping))

    await chain.seal(conn, now=LATER)

    assert await broken(conn) == []


async def test_what_was_forgotten_on_purpose_breaks_nothing(conn, sealed):
    await conn.execute(update(audit_log).values(address=None))

    assert await broken(conn) == []


async def test_a_long_log_has_many_seals(conn):
    await write(conn, 1)
    [row] = (await conn.execute(select(audit_log))).all()
    rows = [{**row._mapping, "id": row.id + number} for number in range(1, 2 * chain.MOST_ROWS)]
    await conn.execute(insert(audit_log), rows)
    await chain.seal(conn, now=NOON)
    await chain.seal(conn, now=LATER)

    ends = (await conn.execute(select(audit_chain.c.up_to_id))).scalars().all()

    assert sorted(ends) == [row.id + chain.MOST_ROWS - 1, row.id + 2 * chain.MOST_ROWS - 1]
    assert await broken(conn) == []


async def test_marking_twice_at_once_makes_one_seal(conn):
    await write(conn, 2)
    await chain.seal(conn, now=NOON)

    await chain._mark(conn, 0, NOON)

    count = await conn.execute(text("SELECT COUNT(*) FROM audit_chain"))
    assert count.scalar() == 1
