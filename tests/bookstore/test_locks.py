"""Statements that lock rows find them by a key, however small the table is."""

import importlib
import pkgutil

import pytest
from sqlalchemy import text

import bookstore
from bookstore.bulk import Bulk, BulkQuery

pytestmark = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)


def locking():
    """The statements of all services that lock what they find."""
    for module in pkgutil.walk_packages(bookstore.__path__, "bookstore."):
        if ".migrations" in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Bulk | BulkQuery):
                sql = (value if isinstance(value, Bulk) else value._bulk).mysql
                if sql.lstrip().startswith(("UPDATE", "DELETE")) or "FOR UPDATE" in sql:
                    yield pytest.param(sql, id=f"{module.name}.{name}")


@pytest.mark.parametrize("sql", list(locking()))
async def test_in_an_empty_table_it_reads_no_row_but_those_it_is_about(conn, sql):
    statement = text(f"EXPLAIN {sql}")
    moments = dict.fromkeys(statement._bindparams, "2026-01-01")

    plan = await conn.execute(statement, {**moments, "rows": "[[1, 1, 1, 1, 1, 1, 1, 1]]"})

    scanned = [step.table for step in plan if step.type in ("ALL", "index") and step.table != "v"]
    assert scanned == []
