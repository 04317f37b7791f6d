"""Locks on MariaDB: a statement locks few rows, and a transaction in a deadlock is retried."""

import asyncio
import importlib
import pkgutil

import pytest
from sqlalchemy import select, text, update

import bookstore
from bookstore.catalogue import stock
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.statements import Bulk, BulkQuery
from bookstore.database.tables import books, stock_movements
from tests.factories import NOON, add_book

pytestmark = pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)


def locking_statements():
    """The statements of all services that lock the rows they find."""
    for module in pkgutil.walk_packages(bookstore.__path__, "bookstore."):
        if ".migrations" in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Bulk | BulkQuery):
                sql = (value if isinstance(value, Bulk) else value._bulk).mysql
                if sql.lstrip().startswith(("UPDATE", "DELETE")) or "FOR UPDATE" in sql:
                    yield pytest.param(sql, id=f"{module.name}.{name}")


@pytest.mark.parametrize("sql", list(locking_statements()))
async def test_a_locking_statement_scans_no_table_even_if_it_is_empty(conn, sql):
    statement = text(f"EXPLAIN {sql}")
    values = dict.fromkeys(statement._bindparams, "2026-01-01")

    plan = await conn.execute(statement, {**values, "rows": "[[1, 1, 1, 1, 1, 1, 1, 1]]"})

    scanned = [step.table for step in plan if step.type in ("ALL", "index") and step.table != "v"]
    assert scanned == []


#: A bulk insert of movements holds the ledger's AUTO-INC lock until the statement ends.
BULK_INSERT = """
    INSERT INTO stock_movements (book_id, delta, reason, created_at)
    SELECT id, 1, 'count', NOW(6) FROM books ORDER BY id
"""
#: The statement ends quickly unless another transaction has locked one of its books.
BULK_INSERT_WAITS = """
    SELECT COUNT(*) FROM information_schema.processlist
    WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info LIKE '%FROM books ORDER BY id%'
"""


async def test_a_deadlock_on_the_next_auto_increment_value_is_retried(engine):
    async with transaction(engine) as conn:
        ids = [await add_book(conn, stock=5) for _ in range(20)]
    locked, begun = asyncio.Event(), []

    async def single():
        begun.append("single")
        async with transaction(engine) as conn:
            await conn.execute(update(books).where(books.c.id == ids[-1]).values(pages=9))
            locked.set()
            while begun.count("single") == 1 and not await conn.scalar(text(BULK_INSERT_WAITS)):
                await conn.execute(text("DO SLEEP(0.02)"))
            await stock.move(conn, ids[0], -1, stock.StockReason.DAMAGED, now=NOON)

    async def bulk():
        await locked.wait()
        begun.append("bulk")
        async with transaction(engine) as conn:
            await conn.execute(text("SET SESSION innodb_lock_wait_timeout = 20"))
            await conn.execute(text(BULK_INSERT))

    await asyncio.gather(retry_transaction(single), retry_transaction(bulk))

    assert sorted(begun) == ["bulk", "single", "single"]
    async with reading(engine) as conn:
        moved = await conn.scalars(select(stock_movements.c.delta))
        assert sorted(moved) == [-1, *[1] * 20, *[5] * 20]
