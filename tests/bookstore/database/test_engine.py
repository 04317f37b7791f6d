"""Locks on MariaDB: how few rows a statement locks, and what happens when two wait in a circle."""

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


#: A list of movements has the ledger's AUTO-INC lock until its statement is through.
LIST = """
    INSERT INTO stock_movements (book_id, delta, reason, created_at)
    SELECT id, 1, 'count', NOW(6) FROM books ORDER BY id
"""
#: It is soon through, unless somebody has one of its books.
LIST_WAITS = """
    SELECT COUNT(*) FROM information_schema.processlist
    WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info LIKE '%FROM books ORDER BY id%'
"""


async def test_whoever_waits_in_a_circle_for_the_next_number_of_a_row_begins_again(engine):
    async with transaction(engine) as conn:
        ids = [await add_book(conn, stock=5) for _ in range(20)]
    locked, begun = asyncio.Event(), []

    async def one():
        begun.append("one")
        async with transaction(engine) as conn:
            await conn.execute(update(books).where(books.c.id == ids[-1]).values(pages=9))
            locked.set()
            while begun.count("one") == 1 and not await conn.scalar(text(LIST_WAITS)):
                await conn.execute(text("DO SLEEP(0.02)"))
            await stock.move(conn, ids[0], -1, stock.Reason.DAMAGED, now=NOON)

    async def all_of_them():
        await locked.wait()
        begun.append("list")
        async with transaction(engine) as conn:
            await conn.execute(text("SET SESSION innodb_lock_wait_timeout = 20"))
            await conn.execute(text(LIST))

    await asyncio.gather(retry_transaction(one), retry_transaction(all_of_them))

    assert sorted(begun) == ["list", "one", "one"]
    async with reading(engine) as conn:
        moved = await conn.scalars(select(stock_movements.c.delta))
        assert sorted(moved) == [-1, *[1] * 20, *[5] * 20]
