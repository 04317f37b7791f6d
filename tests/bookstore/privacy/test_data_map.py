"""The data map covers every column, because export and erasure follow it."""

from collections import Counter

import pytest
from sqlalchemy import text

from bookstore.database import engine as db
from bookstore.database.tables import metadata, users
from bookstore.privacy.data_map import DATA_MAP, PERSONAL

TABLES = sorted(metadata.tables.values(), key=lambda table: table.name)


def user_columns(table):
    """The columns that refer to a user."""
    return [key.parent.name for key in table.foreign_keys if key.column is users.c.id]


def test_every_table_is_in_the_data_map():
    assert set(metadata.tables) == set(DATA_MAP)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_every_column_has_one_kind(table):
    named = Counter(name for names in DATA_MAP[table.name].kinds.values() for name in names.split())

    assert named == Counter(column.name for column in table.c)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_personal_data_is_erased_or_has_a_retention_reason(table):
    data = DATA_MAP[table.name]
    personal = {name for name, kind in data.kind_by_column().items() if kind in PERSONAL}

    retained = set() if data.delete_rows else personal - set(data.replacements)

    assert not retained or data.retention_reason
    assert not (data.delete_rows and data.replacements)
    assert set(data.replacements) <= {column.name for column in table.c}
    # Rows can only be erased if they can be selected by user.
    assert data.rows_of is not None or not (data.delete_rows or data.replacements)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_rows_that_refer_to_a_user_can_be_selected_by_user(table):
    if user_columns(table) or table is users:
        assert DATA_MAP[table.name].rows_of is not None


async def test_an_embedded_store_overwrites_deleted_data_in_its_file(tmp_path):
    engine = db.make_engine(f"sqlite+aiosqlite:///{tmp_path}/bookstore.db")

    async with db.reading(engine) as conn:
        overwritten = await conn.scalar(text("PRAGMA secure_delete"))

    await engine.dispose()
    assert overwritten == 1
