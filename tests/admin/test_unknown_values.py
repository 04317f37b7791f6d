"""Values that a newer release stored are shown as unknown and never break a list or a page."""

import pytest
from sqlalchemy import func, insert, select, update

from bookstore.database import tables as t
from bookstore.tasks.jobs import JobKind
from bookstore.users.permissions import Role
from tests.admin.store_data import add_data_for_every_form
from tests.admin.walking import walk
from tests.factories import NOON

#: Each column, and the beginning of the path of a page that shows its row.
COLUMNS = {
    t.orders.c.status: "/admin/orders",
    t.orders.c.payment_status: "/admin/orders",
    t.orders.c.payment_provider: "/admin/orders/",
    t.order_events.c.kind: "/admin/orders/",
    t.stock_movements.c.reason: "/admin/books/",
    t.tasks.c.task: "/admin/queues",
    t.notifications.c.kind: "/admin/notifications",
    t.notifications.c.status: "/admin/notifications",
    t.jobs.c.state: "/admin/imports/",
    t.job_lines.c.outcome: "/admin/imports/",
    t.bulk_changes.c.field: "/admin/notifications/bulk/",
    t.audit_log.c.action: "/admin/audit",
    t.users.c.role: "/admin/users/",
}
#: The pages of an import are not shown for a job of another kind, so it is stored alone.
ALONE = {t.jobs.c.kind: "/admin/imports"}


async def add_event(conn):
    """The orders of the store were inserted without events."""
    order_id = await conn.scalar(select(func.max(t.orders.c.id)))
    event = {"order_id": order_id, "seq": 2, "kind": "shipped", "at": NOON, "actor": "staff:1"}
    await conn.execute(insert(t.order_events).values(event))


def newer(column):
    """The value that the newer release stored in this column."""
    return f"{column.table.name[:9]}-{column.name[:9]}"


async def store_newer_value(conn, column):
    """Store the newer value in one row of the table."""
    table = column.table
    key = next(iter(table.primary_key))
    chosen = select(func.max(key))
    if column is t.users.c.role:
        chosen = chosen.where(column == Role.CUSTOMER)
    elif table is t.jobs:
        chosen = chosen.where(t.jobs.c.kind == JobKind.IMPORT_BOOKS)
    row_id = await conn.scalar(chosen)
    assert row_id is not None, column
    await conn.execute(update(table).where(key == row_id).values({column.name: newer(column)}))


@pytest.mark.parametrize("columns", [COLUMNS, ALONE], ids=["columns", "jobs.kind"])
async def test_values_of_a_newer_release_are_shown_as_unknown(visitor, database, server, columns):
    admin = await visitor(Role.ADMIN)
    await visitor(Role.CUSTOMER, "mira@example.com")
    start_paths = await add_data_for_every_form(server, database, admin)
    async with database() as conn:
        await add_event(conn)
        for column in columns:
            await store_newer_value(conn, column)

    pages = [(address, page) async for address, page in walk(admin, start_paths)]

    for column, path in columns.items():
        text = f"Unknown: {newer(column)}"
        showing = [address for address, page in pages if text in page.text]
        assert any(address.startswith(path) for address in showing), (column, showing)
