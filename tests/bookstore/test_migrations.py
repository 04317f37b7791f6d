from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from bookstore import db
from bookstore.tables import metadata


def differences(conn: Connection) -> list[object]:
    sqlite = conn.dialect.name == "sqlite"
    context = MigrationContext.configure(
        conn,
        opts={
            # SQLite's full-text index is no table that metadata could describe.
            "include_name": lambda name, kind, _: (
                not (sqlite and kind == "table" and name.startswith("book_search"))
            ),
            "include_object": lambda _, name, kind, *rest: (
                not (sqlite and kind == "table" and name.startswith("book_search"))
            ),
        },
    )
    return compare_metadata(context, metadata)


async def test_the_migrations_build_the_tables_that_the_code_knows(conn):
    assert await conn.run_sync(differences) == []


async def test_a_database_that_is_up_to_date_stays_as_it_is(engine):
    await db.upgrade(engine)

    async with db.reading(engine) as conn:
        current, newest = await db.revisions(conn)
    assert current == newest
