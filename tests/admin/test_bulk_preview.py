"""Changes of all rows of a list at once: a preview first, then the change.

A worker makes changes of more than one batch.
"""

import pytest
from sqlalchemy import func, insert, select, update

from bookstore import orders
from bookstore.backoffice import bulk_changes
from bookstore.backoffice.bulk_changes import BATCH
from bookstore.backoffice.bulk_jobs import BulkChangeRunner
from bookstore.database.tables import books
from bookstore.database.tables import notifications as notifications_table
from bookstore.database.tables import orders as orders_table
from bookstore.database.tables import tasks as tasks_table
from bookstore.notifications import notifications
from bookstore.tasks import jobs
from bookstore.tasks.job_runner import JobRunner
from bookstore.tasks.jobs import JobKind
from bookstore.users.permissions import Role
from tests.admin.conftest import read, send
from tests.factories import NOON, add_book, add_order, add_user, create_book
from web.server.keys import ENGINE

TO_PACK = "/admin/orders?status=confirmed"
FAILED = "/admin/notifications?status=failed"


async def add_orders(database, number, **columns):
    async with database() as conn:
        dune = await add_book(conn, title="Dune", stock=5)
        for index in range(number):
            await add_order(
                conn, {dune: 1}, number=f"{index:04}-TEST", **{"status": "confirmed", **columns}
            )


async def add_emails(database, number, **columns):
    async with database() as conn:
        user_id = await add_user(conn)
        for index in range(number):
            await notifications.queue(
                conn, "message", recipient=f"r{index}@example.com", subject=f"E-mail {index}",
                body="b", user_id=user_id, now=NOON,
            )  # fmt: skip
        await conn.execute(
            update(notifications_table).values({"status": "failed", "attempts": 3, **columns})
        )
        await conn.execute(tasks_table.delete())


async def count_rows(database, table, **values):
    async with database() as conn:
        query = select(func.count()).select_from(table)
        for name, value in values.items():
            query = query.where(table.c[name] == value)
        return await conn.scalar(query)


async def run(server):
    """Run the job of the plan to its end, as a worker does."""
    engine = server.app[ENGINE]
    runner = JobRunner(
        engine,
        {JobKind.CHANGE_MANY: BulkChangeRunner(engine, clock=lambda: NOON)},
        clock=lambda: NOON,
    )
    async with engine.connect() as conn:
        found = await jobs.find(conn, (JobKind.CHANGE_MANY,))
    while await runner.run(found.items[0].id):
        pass


async def test_all_orders_of_a_tab_are_packed_after_a_preview(visitor, database):
    await add_orders(database, 30)
    clerk = await visitor(Role.CLERK)

    listed = await read(clerk, TO_PACK)
    plan = await send(clerk, "/admin/orders", to="packed", all="yes", back=TO_PACK)
    before = await count_rows(database, orders_table, status="packed")
    done = await send(clerk, plan.path)

    assert "or all 30 in this list" in listed.text
    assert "30 orders would be marked as packed." in plan.text
    assert before == 0
    assert "30 orders are packed." in done.text
    assert await count_rows(database, orders_table, status="packed") == 30


async def test_only_previewed_rows_are_changed(visitor, database):
    await add_orders(database, 3)
    clerk = await visitor(Role.CLERK)

    plan = await send(clerk, "/admin/orders", to="packed", all="yes", back=TO_PACK)
    async with database() as conn:
        dune = await add_book(conn)
        await add_order(conn, {dune: 1}, number="LATE-TEST", status="confirmed")
        await conn.execute(
            update(orders_table)
            .where(orders_table.c.number == "0001-TEST")
            .values(status="cancelled", last_seq=2)
        )
    done = await send(clerk, plan.path)
    again = await send(clerk, plan.path)

    assert "2 orders are packed." in done.text
    assert "1 skipped: they changed in the meantime." in done.text
    async with database() as conn:
        assert (await orders.get(conn, "LATE-TEST")).status == "confirmed"
        assert (await orders.get(conn, "0001-TEST")).status == "cancelled"
        assert (await orders.get(conn, "0000-TEST")).status == "packed"
    assert "2 packed." in again.text
    assert await count_rows(database, orders_table, status="packed") == 2


async def test_the_preview_follows_the_filters_and_omits_orders_that_cannot_change(
    visitor, database
):
    await add_orders(database, 2)
    async with database() as conn:
        emma = await add_book(conn)
        await add_order(
            conn, {emma: 1}, number="EMMA-TEST", status="confirmed", email="e@x.example"
        )
        await add_order(conn, {emma: 1}, number="SENT-TEST", status="shipped", email="e@x.example")
    clerk = await visitor(Role.CLERK)
    back = "/admin/orders?q=e@x.example"

    plan = await send(clerk, "/admin/orders", to="packed", all="yes", back=back)
    none = await send(
        clerk, "/admin/orders", to="packed", all="yes", back="/admin/orders?q=unknown@"
    )
    wrong = await send(clerk, "/admin/orders", to="cancelled", all="yes", back=back)

    assert "1 order would be marked as packed." in plan.text
    assert "EMMA-TEST" in plan.text
    assert "None of these orders can change to this status." in none.text
    assert "This status cannot be set for many orders at once." in wrong.text
    assert wrong.path == back


async def test_more_than_a_batch_of_orders_is_changed_by_a_worker(visitor, database, server):
    number = BATCH + 20
    await add_orders(database, 1)
    async with database() as conn:
        (row,) = (await conn.execute(select(orders_table))).mappings()
        columns = {name: value for name, value in row.items() if name != "id"}
        await conn.execute(
            insert(orders_table),
            [
                {**columns, "number": f"M{index:04}-TEST", "cart_id": 10**6 + index}
                for index in range(number - 1)
            ],
        )
    clerk = await visitor(Role.CLERK)

    plan = await send(clerk, "/admin/orders", to="packed", all="yes", back=TO_PACK)
    started = await send(clerk, plan.path)
    started_again = await send(clerk, plan.path)
    waiting = await count_rows(database, orders_table, status="packed")
    await run(server)
    done = await read(clerk, plan.path)

    assert f"{number} orders would be marked as packed." in plan.text
    assert f"0 of {number} done." in started.text
    assert waiting == 0
    assert f"{number} packed." in done.text
    assert await count_rows(database, orders_table, status="packed") == number
    assert f"0 of {number} done." in started_again.text
    async with database() as conn:
        assert len((await jobs.find(conn, (JobKind.CHANGE_MANY,))).items) == 1


async def test_all_failed_emails_are_sent_again_after_a_preview(visitor, database):
    await add_emails(database, 30)
    clerk = await visitor(Role.CLERK)

    listed = await read(clerk, FAILED)
    plan = await send(clerk, "/admin/notifications/resend", all="yes", back=FAILED)
    async with database() as conn:
        # Another user sends one of them again before the change.
        one = await conn.scalar(select(func.min(notifications_table.c.id)))
        await notifications.resend(conn, one, user_id=None, now=NOON)
    done = await send(clerk, plan.path)

    assert "or all 30 in this list" in listed.text
    assert "30 e-mails would be sent again." in plan.text
    assert "29 e-mails are sent again." in done.text
    assert "1 skipped" in done.text
    assert "No failed e-mails." in (await read(clerk, FAILED)).text
    assert await count_rows(database, notifications_table, status="queued") == 30
    assert await count_rows(database, tasks_table) == 30


async def test_prices_of_more_books_than_a_batch_are_changed_and_undone_by_a_worker(
    visitor, database, server
):
    number = BATCH + 5
    async with database() as conn:
        for _ in range(number):
            await add_book(conn, price_cents=1000)
    manager = await visitor(Role.MANAGER)

    async def prices():
        async with database() as conn:
            return {*await conn.scalars(select(books.c.price_cents))}

    plan = await send(
        manager, "/admin/books/bulk", field="price", price="+10%", all="yes", back="/admin/books"
    )
    started = await send(manager, plan.path)
    before = await prices()
    await run(server)
    after = await prices()
    done = await read(manager, plan.path)
    await send(manager, f"{plan.path}/undo")
    await run(server)
    undone = await read(manager, plan.path)

    assert f"0 of {number} done." in started.text
    assert (before, after, await prices()) == ({1000}, {1100}, {1000})
    assert f"{plan.path}/undo" in done.forms
    assert "Undone" in undone.text


@pytest.mark.parametrize(
    ("role", "path", "fields"),
    [
        (Role.EDITOR, "/admin/orders", {"to": "packed"}),
        (Role.EDITOR, "/admin/notifications/resend", {}),
        (Role.CLERK, "/admin/books/bulk", {"field": "price", "price": "1"}),
        (Role.EDITOR, "/admin/books/bulk", {"field": "price", "price": "1"}),
    ],
)
async def test_a_preview_requires_the_permission_for_its_change(
    visitor, database, role, path, fields
):
    await add_orders(database, 1)
    client = await visitor(role)

    page = await send(client, path, all="yes", back=path, **fields)

    assert page.status == 403


async def test_a_plan_can_only_be_executed_at_its_own_path(visitor, database):
    """The permission to change orders does not allow a plan for prices at the path for orders."""
    await add_orders(database, 2)
    async with database() as conn:
        user_id = await add_user(conn)
        await create_book(conn, price_cents=1000)
        prices = await bulk_changes.plan_prices(
            conn, select(books.c.id), "1", user_id=user_id, now=NOON
        )
        moves = await bulk_changes.plan_moves(
            conn, select(orders_table.c.id), orders.State.PACKED, user_id=user_id, now=NOON
        )
    clerk, editor = await visitor(Role.CLERK), await visitor(Role.EDITOR)
    manager = await visitor(Role.MANAGER)

    for client, address, status in (
        (clerk, f"/admin/orders/bulk/{prices}", 404),
        (clerk, f"/admin/notifications/bulk/{moves}", 404),
        (clerk, f"/admin/books/bulk/{prices}", 403),
        (editor, f"/admin/books/bulk/{prices}", 403),
        (manager, f"/admin/books/bulk/{moves}", 404),
        (manager, f"/admin/books/bulk/{moves}/undo", 404),
    ):
        answer = await client.post(address, allow_redirects=False)
        assert answer.status == status, address
    assert await count_rows(database, orders_table, status="packed") == 0
