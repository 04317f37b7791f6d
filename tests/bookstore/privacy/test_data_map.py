"""The data map has to know every column there is: export and erasure go by it."""

from collections import Counter

import pytest
from sqlalchemy import text

from bookstore.database import engine as db
from bookstore.database.tables import metadata, users
from bookstore.privacy.data_map import HELD, PERSONAL

TABLES = sorted(metadata.tables.values(), key=lambda table: table.name)


def people_in(table):
    """The columns that say whose a row is."""
    return [key.parent.name for key in table.foreign_keys if key.column is users.c.id]


def test_there_is_no_table_that_is_not_on_the_map():
    assert set(metadata.tables) == set(HELD)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_every_column_has_one_kind(table):
    named = Counter(name for names in HELD[table.name].kinds.values() for name in names.split())

    assert named == Counter(column.name for column in table.c)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_what_is_personal_goes_or_has_a_reason_to_stay(table):
    held = HELD[table.name]
    personal = {name for name, kind in held.kind_of().items() if kind in PERSONAL}

    stays = set() if held.gone else personal - set(held.left)

    assert not stays or held.kept
    assert not (held.gone and held.left)
    assert set(held.left) <= {column.name for column in table.c}
    # What goes must be found.
    assert held.whose is not None or not (held.gone or held.left)


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_whatever_belongs_to_somebody_can_be_taken_away(table):
    if people_in(table) or table is users:
        assert HELD[table.name].whose is not None


async def test_what_was_deleted_is_overwritten_in_the_file_of_an_embedded_store(tmp_path):
    engine = db.make_engine(f"sqlite+aiosqlite:///{tmp_path}/bookstore.db")

    async with db.reading(engine) as conn:
        overwritten = await conn.scalar(text("PRAGMA secure_delete"))

    await engine.dispose()
    assert overwritten == 1
