"""Tables of a newer release: the previous release must still start after an upgrade."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, ProgrammingError

from bookstore.database.engine import cause_of, is_unavailable, transaction, upgrade
from web.monitoring import health


async def set_revision(engine, revision):
    async with transaction(engine) as conn:
        before = await conn.scalar(text("SELECT version_num FROM alembic_version"))
        await conn.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
    return before


@pytest.mark.parametrize(("revision", "status"), [("9999", "ok"), ("0013", "failed")])
async def test_only_older_tables_are_not_ready(engine, revision, status):
    before = await set_revision(engine, revision)

    found = await health.migrations(engine)
    await set_revision(engine, before)

    assert found.status == status
    assert revision in found.detail


async def test_an_upgrade_leaves_newer_tables_alone(engine, caplog):
    before = await set_revision(engine, "9999")

    await upgrade(engine)
    after = await set_revision(engine, before)

    assert after == "9999"
    assert "newer than this program" in caplog.text


def failure(kind, *args):
    return kind("SELECT 1", None, Exception(*args))


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        *(
            (failure(OperationalError, number, "x"), True)
            for number in (2003, 2013, 1040, 1213, 1205)
        ),
        *((failure(OperationalError, number, "x"), True) for number in (1021, 1290, 1053, 3024)),
        *(
            (failure(OperationalError, number, "x"), False)
            for number in (3569, 1142, 1045, 1054, 4025)
        ),
        (failure(OperationalError, "database is locked"), True),
        (failure(OperationalError, "database or disk is full"), True),
        (failure(OperationalError, "no such table: books"), False),
        (failure(OperationalError, 'near "SELEC": syntax error'), False),
        (failure(ProgrammingError, 1064, "x"), False),
        (failure(IntegrityError, 1062, "x"), False),
        (failure(InterfaceError, 0, ""), True),
        (TimeoutError(), True),
        (ConnectionRefusedError(), True),
        (KeyError("x"), False),
    ],
    ids=lambda value: cause_of(value) if isinstance(value, Exception) else "",
)
def test_absence_differs_from_a_fault(error, is_away):
    assert is_unavailable(error) is is_away


def test_a_cause_has_the_number_of_the_database():
    assert cause_of(failure(OperationalError, 3569, "x")) == "OperationalError 3569"
