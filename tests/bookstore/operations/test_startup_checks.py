"""Checks before a program starts."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from bookstore.operations import startup_checks
from bookstore.operations.startup_checks import NotReady


async def test_a_correct_configuration_has_no_warnings(settings):
    assert await startup_checks.check(settings) == []


async def test_older_tables_are_refused(settings, engine):
    async with engine.begin() as conn:
        newest = (await conn.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        await conn.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    try:
        with pytest.raises(NotReady, match="bookstore db upgrade"):
            await startup_checks.check(settings)
    finally:
        async with engine.begin() as conn:
            await conn.execute(
                text("UPDATE alembic_version SET version_num = :newest"), {"newest": newest}
            )


async def test_newer_tables_only_cause_a_warning(settings, engine):
    async with engine.begin() as conn:
        newest = (await conn.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        await conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    try:
        [warning] = await startup_checks.check(settings)
        assert "newer" in warning
    finally:
        async with engine.begin() as conn:
            await conn.execute(
                text("UPDATE alembic_version SET version_num = :newest"), {"newest": newest}
            )


async def test_an_unavailable_database_only_causes_a_warning(settings):
    unavailable = replace(
        settings, database_url="mysql+aiomysql://bookstore:x@127.0.0.1:1/bookstore"
    )

    [warning] = await startup_checks.check(unavailable)

    assert "unavailable" in warning


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("innodb_flush_log_at_trx_commit", "2", "1"),
        ("sql_mode", "''", "'STRICT_TRANS_TABLES'"),
    ],
)
@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
async def test_a_setting_that_risks_data_causes_a_warning(settings, mariadb, name, bad, good):
    with mariadb.connect() as conn, conn.cursor() as cursor:
        cursor.execute(f"SELECT @@GLOBAL.{name}")
        [(before,)] = cursor.fetchall()
        cursor.execute(f"SET GLOBAL {name} = {bad}")
        try:
            found = await startup_checks.check(settings)
            cursor.execute(f"SET GLOBAL {name} = {good}")
            fine = await startup_checks.check(settings)
        finally:
            cursor.execute(f"SET GLOBAL {name} = %s", (before,))

    assert name in found[0]
    assert fine == []


async def test_a_cluster_without_quorum_queues_causes_a_warning(settings):
    cluster = replace(settings, broker_url="amqp://a;amqp://b")

    assert "quorum" in (await startup_checks.check(cluster))[0]
    assert await startup_checks.check(replace(cluster, queue_type="quorum")) == []
