"""A damaged JSON document is shown on its row and never stops a page, a list, an export or doctor.

The walk covers every column with a document, so a new one needs an example of damage here.
"""

import json

import pytest
from sqlalchemy import Text, select, type_coerce, update

from bookstore import notifications, orders
from bookstore.database import tables as t
from bookstore.database.documents import Document
from bookstore.exports import rejected_rows
from bookstore.exports.exporter import SOURCES
from bookstore.operations import doctor
from bookstore.privacy import data_export
from bookstore.tasks import jobs
from bookstore.users import api_tokens
from bookstore.users.permissions import Role
from tests.admin.store_data import add_data_for_every_form
from tests.admin.walking import walk
from tests.factories import NOON
from web.server.keys import ENGINE

#: SQLite stores any text in such a column; what pages show does not depend on the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

#: A document of each column that is JSON, but has a part of another type.
WRONG_PARTS = {
    t.orders.c.terms: {"currency": "EUR", "shipping_cents": "290"},
    t.orders.c.shipping_address: {"name": 7, "line1": [], "city": {}, "country": None},
    t.retained_invoices.c.address: ["Mira"],
    t.jobs.c.options: {"dry_run": "no", "mapping": 7, "format": [], "list": {}},
    t.jobs.c.findings: {"header": 7, "rules": 7, "columns": [7], "separator": ["x"]},
    t.job_lines.c.cells: [{"isbn": 1}, 7, None],
    t.audit_log.c.changes: {"price_cents": [1], "title": 7, "stock": "x"},
    t.api_tokens.c.scopes: [["staff"], 7],
    t.bulk_changes.c.rows: [[1], 7, ["x", "y", "z", [], {}]],
}
COLUMNS = [
    column
    for table in t.metadata.sorted_tables
    for column in table.c
    if isinstance(column.type, Document)
]
#: The damaged text of a column.
DAMAGES = {
    "cut off": lambda column: '{"name": "Mi',
    "empty": lambda column: "",
    "null": lambda column: "null",
    "number": lambda column: "7",
    "nested": lambda column: "[" * 100_000,
    "wrong parts": lambda column: json.dumps(WRONG_PARTS[column]),
}


def test_every_document_has_an_example_of_damage(database_url):
    assert set(COLUMNS) == set(WRONG_PARTS)


async def plant(conn, column, text):
    """Store this text in every row of the column."""
    await conn.execute(update(column.table).values({column.name: type_coerce(text, Text)}))


async def add_rows(conn, user_id):
    """A row in the tables that the pages do not fill, and a refused line with cells."""
    await api_tokens.make(
        conn,
        user_id=user_id,
        name="A program",
        scopes=[*api_tokens.Scope],
        expires_at=None,
        now=NOON,
    )
    order = (await conn.execute(select(t.orders).limit(1))).one()
    invoice = {"order_id": order.id, "email": order.email, "address": order.shipping_address}
    await conn.execute(
        t.retained_invoices.insert().values(**invoice, retained_at=NOON, retain_until=NOON)
    )
    job_id = await conn.scalar(select(t.jobs.c.id).limit(1))
    line = {"line": 9, "outcome": "refused", "reason": "No title.", "cells": ["1", "2"]}
    await conn.execute(t.job_lines.insert().values(job_id=job_id, position=99, **line))
    return job_id


async def read_everything(conn, user_id, engine, job_id):
    """Read every list and export that has no page in the dashboard."""
    for order in (await orders.find(conn)).items:
        await orders.timeline.of_order(conn, order.id)
    await notifications.find(conn)
    await api_tokens.of_user(conn, user_id)
    await data_export.of_user(conn, user_id)
    assert [finding async for finding in doctor.examine(conn, now=NOON)]
    job = await jobs.get(conn, job_id)
    for source in SOURCES.values():
        assert [rows async for rows in source.pages(engine, "EUR")]
    return b"".join([chunk async for chunk in rejected_rows.as_csv(engine, job)]).decode()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_document_stops_no_page(visitor, database, server, damage):
    admin = await visitor(Role.ADMIN)
    owner = await visitor(Role.CUSTOMER, "mira@example.com")
    start_paths = await add_data_for_every_form(server, database, admin)
    # Without its options an export belongs to no list, so nobody may see it: 404.
    start_paths = [path for path in start_paths if not path.startswith("/admin/exports/")]
    async with database() as conn:
        user_id = await conn.scalar(
            select(t.users.c.id).where(t.users.c.email == "mira@example.com")
        )
        job_id = await add_rows(conn, user_id)
        for column in COLUMNS:
            await plant(conn, column, DAMAGES[damage](column))

    pages = {address: page.text async for address, page in walk(admin, start_paths)}
    async with database() as conn:
        text = await read_everything(conn, user_id, server.app[ENGINE], job_id)

    for path in ("/admin/orders", "/admin/audit", f"/admin/imports/{job_id}"):
        assert "Damaged" in pages[path], path
    assert "No title." in text
    for path in ("/api/v1/orders", "/api/v1/users/me/tokens", "/orders", "/account/tokens"):
        assert (await owner.get(path)).status == 200, path
    for path in ("orders", "imports", "exports", f"imports/{job_id}/lines", "notifications"):
        prefix = "admin/" if path in ("orders", "notifications") else ""
        answer = await admin.get(f"/api/v1/{prefix}{path}")
        assert answer.status == 200, path
    number = (await (await owner.get("/api/v1/orders")).json())["items"][0]["number"]
    shown = await (await owner.get(f"/api/v1/orders/{number}")).json()
    assert (shown["shipping_address"], shown["tax_cents"]) == (None, None)
    assert (await owner.get(f"/orders/{number}")).status == 200
