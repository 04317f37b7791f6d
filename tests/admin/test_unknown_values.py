"""Values that a newer release has stored: shown as unknown, on their row, and no list stops."""

import pytest
from sqlalchemy import func, select, update

from bookstore.database import tables as t
from bookstore.users.permissions import Role
from tests.admin.test_forms import furnish, walk

#: What the newer release has written, by the column that it wrote it to.
NEWER = "from-tomorrow"
COLUMNS = {
    t.orders.c.status: "/admin/orders",
    t.orders.c.payment_status: "/admin/orders",
    t.orders.c.payment_provider: "/admin/orders",
    t.order_events.c.kind: "/admin/orders",
    t.stock_movements.c.reason: "/admin/books",
    t.tasks.c.task: "/admin/queues",
    t.notifications.c.kind: "/admin/notifications",
    t.notifications.c.status: "/admin/notifications",
    t.jobs.c.kind: "/admin/imports",
    t.jobs.c.state: "/admin/imports",
    t.job_lines.c.outcome: "/admin/imports",
    t.bulk_changes.c.field: "/admin/books",
    t.audit_log.c.action: "/admin/audit",
    t.users.c.role: "/admin/users",
}


async def plant(conn, column):
    """Let one row of the table have the newer value."""
    table = column.table
    key = next(iter(table.primary_key))
    if column is t.users.c.role:
        chosen = select(func.min(key)).where(column == Role.CUSTOMER)
    else:
        chosen = select(func.max(key))
    row_id = await conn.scalar(chosen)
    assert row_id is not None, column
    await conn.execute(update(table).where(key == row_id).values({column.name: NEWER}))


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{column.table.name}.{column.name}")
async def test_no_page_stops_at_a_value_of_a_newer_release(visitor, database, server, column):
    admin = await visitor(Role.ADMIN)
    starts = await furnish(server, database, admin)
    async with database() as conn:
        await plant(conn, column)

    async for address, page in walk(admin, starts):
        assert page.links, address
