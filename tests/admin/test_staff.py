"""Categories, users, e-mails, queues and the audit log in the dashboard."""

import pytest
from sqlalchemy import insert

from bookstore.catalogue import authors, categories
from bookstore.database.tables import notifications as notifications_table
from bookstore.database.tables import tasks as tasks_table
from bookstore.notifications import notifications
from bookstore.notifications.notifications import EmailStatus
from bookstore.tasks import heartbeats, outbox
from bookstore.tasks.outbox import Task
from bookstore.users import accounts
from bookstore.users.permissions import Role
from tests.admin.conftest import read, send
from tests.admin.store_data import add_dead_task, add_email
from tests.factories import NOON, add_order, add_user, create_book
from tests.web.conftest import PASSWORD
from web.server.request_context import now

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202egnp.exe",
]


async def test_a_dead_task_is_retried(visitor, database):
    task_id, _ = await add_dead_task(database)
    manager = await visitor(Role.MANAGER)

    listed = await read(manager, "/admin/queues")
    page = await send(manager, f"/admin/queues/{task_id}/replay")

    assert "KeyError: 'weight'" in listed.text
    assert "/admin/orders/C3TN-88WD" in listed.links
    assert "will be retried" in page.text
    async with database() as conn:
        row = await outbox.get(conn, task_id)
    assert (row.dead_at, row.attempts) == (None, 0)


async def test_a_dead_task_is_discarded_with_a_reason(visitor, database):
    task_id, order_id = await add_dead_task(database)
    manager = await visitor(Role.MANAGER)

    without_reason = await send(manager, f"/admin/queues/{task_id}/discard", reason="")
    discarded = await send(manager, f"/admin/queues/{task_id}/discard", reason="A test order")
    audit = await read(manager, f"/admin/audit?object=task&id=process_orders:{order_id}")

    assert "Enter a reason" in without_reason.text
    assert "was discarded" in discarded.text
    assert "No dead tasks." in discarded.text
    assert "A test order" in audit.text


async def test_clerks_see_the_queues_but_cannot_change_them(visitor, database):
    task_id, _ = await add_dead_task(database)
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, "/admin/queues")

    assert "KeyError" in page.text
    assert not [action for action in page.forms if action.startswith("/admin/queues")]
    assert (await send(clerk, f"/admin/queues/{task_id}/replay")).status == 403


async def test_the_page_of_tasks_reports_an_unreachable_broker_and_missing_workers(
    visitor, database
):
    clerk = await visitor(Role.CLERK)

    before = await read(clerk, "/admin/queues")
    async with database() as conn:
        await heartbeats.beat(conn, "relay of a worker", now=now())
    after = await read(clerk, "/admin/queues")

    assert "The message broker is not reachable." in before.text
    assert "No worker is running." in before.text
    assert "No worker is running." not in after.text
    assert "relay of a worker" in after.text


async def test_an_email_is_shown_and_sent_again(visitor, database):
    email_id = await add_email(database)
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, f"/admin/notifications?status=failed&email={email_id}")
    body = await read(clerk, f"/admin/notifications/{email_id}/body")
    fields = page.forms[f"/admin/notifications/{email_id}/resend"]
    again = await send(clerk, f"/admin/notifications/{email_id}/resend", **fields)

    assert "the book is sold out" in body.text
    assert "550 no such mailbox" in page.text
    assert "“About your order” will be sent to mira@example.com again." in again.text
    async with database() as conn:
        email = await notifications.get(conn, email_id)
        waiting = await outbox.find(conn, dead=False)
    assert email.email_status is EmailStatus.QUEUED
    assert [row.ref_id for row in waiting if row.task is Task.SEND_NOTIFICATIONS] == [email_id]


async def test_all_dead_tasks_are_retried(visitor, database):
    await add_dead_task(database)
    manager = await visitor(Role.MANAGER)

    page = await send(manager, "/admin/queues/replay")

    assert "1 task will be retried." in page.text
    async with database() as conn:
        assert (await outbox.count(conn))["dead"] == 0


async def test_an_email_with_an_invalid_address_is_still_shown(visitor, database):
    email_id = await add_email(database, recipient="no address at all")
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, f"/admin/notifications?email={email_id}")
    body = await read(clerk, f"/admin/notifications/{email_id}/body")

    assert page.status == 200
    assert "the book is sold out" in body.text


async def test_staff_send_a_message_to_a_customer(visitor, database):
    async with database() as conn:
        user_id = await add_user(conn, name="Ana", email="ana@example.com")
    clerk = await visitor(Role.CLERK)
    address = f"/admin/users/{user_id}/message"

    without_body = await send(clerk, address, subject="Your shipment", body=" ")
    without_subject = await send(clerk, address, subject=" ", body="It is here.")
    page = await send(clerk, address, subject="Your shipment", body="It is here.")
    listed = await read(clerk, "/admin/notifications?status=queued")

    assert without_body.status == without_subject.status == 422
    assert "#field-body" in without_body.links
    assert 'name="subject" value="Your shipment"' in without_body.html
    assert 'aria-describedby="fault-body"' in without_body.html
    assert "#field-subject" in without_subject.links
    assert ">\nIt is here.</textarea>" in without_subject.html
    assert "Enter a message." in without_body.text
    assert "The e-mail to Ana is being sent." in page.text
    assert "Your shipment" in listed.text


@pytest.mark.parametrize("email_id", ["x", "999999", "-1", "9" * 40, "²"])
async def test_an_email_that_does_not_exist_is_not_found(visitor, email_id):
    clerk = await visitor(Role.CLERK)

    assert (await read(clerk, f"/admin/notifications?email={email_id}")).status == 404


async def test_categories_are_created_renamed_moved_and_deleted(visitor, database):
    editor = await visitor(Role.EDITOR)
    address = "/admin/categories"

    for name in ("Poetry", "Drama", "Crime"):
        assert f"Category {name} was added." in (await send(editor, address, name=name)).text
    moved = await send(editor, f"{address}/poetry/move", step="up")
    renamed = await send(editor, f"{address}/drama", name="Theatre", parent="crime")
    nested = await send(editor, f"{address}/crime", name="Crime", parent="drama")
    refused = await send(editor, f"{address}/crime/delete")
    deleted = await send(editor, f"{address}/poetry/delete")

    assert "Poetry is now number 2 of 3." in moved.text
    assert "Theatre is saved." in renamed.text
    assert "cannot be placed inside itself" in nested.text
    assert "still has books or subcategories" in refused.text
    assert "Poetry is deleted." in deleted.text
    async with database() as conn:
        tree = await categories.tree(conn)
    assert [(it.name, it.parent) for it in tree] == [("Crime", None), ("Theatre", "crime")]


async def test_an_administrator_changes_roles_and_disables_accounts(visitor, database):
    async with database() as conn:
        user_id = await add_user(conn, name="Ana", email="ana@example.com")
    admin = await visitor(Role.ADMIN)
    address = f"/admin/users/{user_id}"

    found = await read(admin, "/admin/users?q=ana")
    clerk = await send(admin, f"{address}/role", role="clerk")
    nonsense = await send(admin, f"{address}/role", role="king")
    disabled = await send(admin, f"{address}/disabled", disabled="yes")

    assert address in found.links
    assert "Ana now has the role clerk." in clerk.text
    assert "This role does not exist." in nonsense.text
    assert "Ana is disabled" in disabled.text
    async with database() as conn:
        ana = await accounts.get(conn, user_id)
    assert (ana.role, ana.disabled) == (Role.CLERK, True)


async def test_managers_see_users_but_cannot_change_them(visitor, database):
    async with database() as conn:
        user_id = await add_user(conn, name="Ana")
    manager = await visitor(Role.MANAGER)

    page = await read(manager, f"/admin/users/{user_id}")

    assert page.status == 200
    assert [action for action in page.forms if action.startswith("/admin")] == [
        f"/admin/users/{user_id}/message"
    ]
    assert (await send(manager, f"/admin/users/{user_id}/role", role="admin")).status == 403


async def test_a_disabled_user_is_signed_out_immediately(visitor, database):
    admin = await visitor(Role.ADMIN)
    clerk = await visitor(Role.CLERK, email="clerk@example.com")
    async with database() as conn:
        found = await accounts.credentials(conn, "clerk@example.com")
    assert found is not None

    await send(admin, f"/admin/users/{found[0].id}/disabled", disabled="yes")

    assert (await read(clerk, "/admin")).path.startswith("/sign-in")
    answer = await clerk.post(
        "/api/v1/session", json={"email": "clerk@example.com", "password": PASSWORD}
    )
    assert answer.status == 401


async def test_a_form_sent_from_another_site_is_refused(visitor, database):
    task_id, _ = await add_dead_task(database)
    manager = await visitor(Role.MANAGER)

    answer = await manager.post(
        f"/admin/queues/{task_id}/replay", headers={"Sec-Fetch-Site": "cross-site"}
    )

    assert answer.status == 403


async def test_hostile_text_is_escaped_on_every_page(visitor, database):
    async with database() as conn:
        order_ids = []
        for index, text in enumerate(HOSTILE):
            user_id = await add_user(conn, name=text)
            plain = text.replace("\u202e", "")
            book = await create_book(
                conn, title=plain, authors=[plain], publisher=plain, subtitle=plain
            )
            order_ids.append(
                await add_order(
                    conn,
                    {book.id: 1},
                    number=f"EV1L-{index:04}",
                    user_id=user_id,
                    status="cancelled",
                    email=f"{text}@example.com",
                    note=text,
                    reason=text,
                    tracking=text,
                    shipping_address={
                        "name": text,
                        "line1": text,
                        "city": text,
                        "country": text,
                    },
                )
            )
            await conn.execute(
                insert(notifications_table).values(
                    user_id=user_id,
                    order_id=order_ids[-1],
                    kind="order-cancelled",
                    status=EmailStatus.FAILED,
                    in_doubt=True,
                    recipient=text,
                    attempts=5,
                    smtp_answer=text,
                    created_at=NOON,
                )
            )
            await conn.execute(
                insert(tasks_table).values(
                    task=Task.PROCESS_ORDERS,
                    ref_id=order_ids[-1],
                    due_at=NOON,
                    publish_count=1,
                    attempts=5,
                    error=text,
                    dead_at=NOON,
                    created_at=NOON,
                )
            )
            await categories.create(conn, plain, user_id=user_id, now=NOON)
    admin = await visitor(Role.ADMIN)
    paths = ["", "/orders", "/books", "/categories", "/users", "/notifications", "/queues"]
    visited, queue = set(), ["/admin/audit", *(f"/admin{path}" for path in paths)]

    while queue:
        path = queue.pop()
        visited.add(path)
        page = await read(admin, path)
        assert page.status == 200, path
        for name, attributes in page.elements:
            if name == "script":
                assert (attributes.get("src") or "").startswith("/admin/static/"), path
            assert name != "img", path
            assert not any(attribute.startswith("on") for attribute in attributes), (
                path,
                attributes,
            )
            assert not (attributes.get("href") or "").lower().startswith("javascript"), path
        queue += [
            link
            for link in dict.fromkeys(link.partition("#")[0] for link in page.links)
            if link.startswith("/admin")
            and "export." not in link
            and link not in visited
            and link not in queue
        ][: max(0, 120 - len(visited) - len(queue))]

    assert {f"/admin/orders/EV1L-{index:04}" for index in range(len(HOSTILE))} <= visited


async def test_an_author_page_lists_similar_names(visitor, database):
    async with database() as conn:
        ids = await authors.get_or_create(conn, ["Karel Čapek", "Karel Capek"])
    editor = await visitor(Role.EDITOR)

    page = await read(editor, f"/admin/authors/{ids[authors.key('Karel Čapek')]}")

    assert f"/admin/authors/{ids[authors.key('Karel Capek')]}" in page.links
