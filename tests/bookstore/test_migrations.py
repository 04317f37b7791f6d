import asyncio

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from bookstore.database import engine as db
from bookstore.database.tables import metadata
from tests.factories import add_order

_ORDERS_ALTERED = text(
    "SELECT 1 FROM information_schema.processlist"
    " WHERE state LIKE 'Committing%' AND info LIKE '%orders%' AND db = DATABASE()"
)


def differences(conn: Connection) -> list[object]:
    sqlite = conn.dialect.name == "sqlite"
    context = MigrationContext.configure(
        conn,
        opts={
            # SQLite's full-text index is a virtual table, which the metadata cannot describe.
            "include_name": lambda name, kind, _: (
                not (sqlite and kind == "table" and name.startswith("book_search"))
            ),
            "include_object": lambda _, name, kind, *rest: (
                not (sqlite and kind == "table" and name.startswith("book_search"))
            ),
        },
    )
    return compare_metadata(context, metadata)


async def test_the_migrations_create_the_tables_of_the_metadata(conn):
    assert await conn.run_sync(differences) == []


async def test_upgrading_a_current_database_changes_nothing(engine):
    await db.upgrade(engine)

    async with db.reading(engine) as conn:
        current, newest = await db.revisions(conn)
    assert current == newest


def upgrade_to(conn: Connection, revision: str) -> None:
    config = db.alembic_config()
    config.attributes["connection"] = conn
    command.upgrade(config, revision)


async def test_a_migration_does_not_deadlock_with_a_running_store(mariadb):
    engine = db.make_engine(mariadb.create_database("migrated_at_work"), timeout_s=20)
    async with engine.connect() as conn:
        await conn.run_sync(upgrade_to, "0006")
        await conn.commit()

    async with db.transaction(engine) as conn:
        # A transaction that locks notifications first and then needs orders, which the migration
        # has locked by now.
        await conn.execute(text("SELECT id FROM notifications FOR UPDATE"))
        upgrade = asyncio.create_task(db.upgrade(engine))
        for _ in range(2000):
            if (await conn.execute(_ORDERS_ALTERED)).all():
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("the migration did not reach the table orders")
        await conn.execute(text("SELECT id FROM orders"))
        await asyncio.sleep(1.5)
    await upgrade

    async with db.reading(engine) as conn:
        current, newest = await db.revisions(conn)
    assert current == newest
    await engine.dispose()


def downgrade_to(conn: Connection, revision: str) -> None:
    config = db.alembic_config()
    config.attributes["connection"] = conn
    command.downgrade(config, revision)


async def test_orders_of_an_earlier_release_are_found_by_their_customer(tmp_path):
    engine = db.make_engine(f"sqlite+aiosqlite:///{tmp_path / 'old.db'}")
    await db.upgrade(engine)
    async with engine.connect() as conn:
        await add_order(conn, {}, number="AAAA-1")
        await add_order(conn, {}, number="BBBB-2")
        damaged = text("UPDATE orders SET shipping_address = '[' WHERE number = 'BBBB-2'")
        await conn.execute(damaged)
        before = list(await conn.scalars(text("SELECT term FROM order_terms WHERE order_id = 1")))
        await conn.run_sync(downgrade_to, "0017")
        await conn.run_sync(upgrade_to, "head")
        after = (await conn.execute(text("SELECT order_id, term FROM order_terms"))).all()
    await engine.dispose()

    assert before
    assert sorted(tuple(row) for row in after) == sorted((1, term) for term in before)
