"""Categories, users, letters, queues and the audit in the dashboard."""

import pytest
from sqlalchemy import insert

from bookstore.catalogue import categories
from bookstore.database.tables import notifications as letters
from bookstore.database.tables import tasks as task_rows
from bookstore.notifications import notifications
from bookstore.notifications.notifications import Status
from bookstore.tasks import heartbeats, outbox
from bookstore.tasks.outbox import Task
from bookstore.users import accounts
from bookstore.users.permissions import Role
from tests.admin.conftest import read, send
from tests.factories import NOON, add_book, add_order, add_user, create_book
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


async def add_dead_task(database):
    """The ids of a dead task and of its order."""
    async with database() as conn:
        dune = await add_book(conn, stock=3)
        order_id = await add_order(conn, {dune: 1}, number="C3TN-88WD")
        row = await conn.execute(
            insert(task_rows).values(
                task=Task.PROCESS_ORDERS,
                ref_id=order_id,
                due_at=NOON,
                publish_count=3,
                attempts=5,
                error="KeyError: 'weight'",
                dead_at=NOON,
                created_at=NOON,
            )
        )
    return row.lastrowid, order_id


async def add_letter(database, **columns):
    async with database() as conn:
        values = {
            "kind": "message",
            "status": Status.FAILED,
            "in_doubt": False,
            "recipient": "mira@example.com",
            "subject": "About your order",
            "body": "Dear Mira,\n\nthe shelf was empty.",
            "attempts": 5,
            "smtp_answer": "550 no such mailbox",
            "created_at": NOON,
        }
        return (await conn.execute(insert(letters).values(values | columns))).lastrowid


async def test_a_dead_letter_is_tried_again(visitor, database):
    task_id, _ = await add_dead_task(database)
    manager = await visitor(Role.MANAGER)

    listed = await read(manager, "/admin/queues")
    page = await send(manager, f"/admin/queues/{task_id}/replay")

    assert "KeyError: 'weight'" in listed.text
    assert "/admin/orders/C3TN-88WD" in listed.links
    assert "is tried again" in page.text
    async with database() as conn:
        row = await outbox.get(conn, task_id)
    assert (row.dead_at, row.attempts) == (None, 0)


async def test_a_dead_letter_is_discarded_with_a_reason(visitor, database):
    task_id, order_id = await add_dead_task(database)
    manager = await visitor(Role.MANAGER)

    silent = await send(manager, f"/admin/queues/{task_id}/discard", reason="")
    said = await send(manager, f"/admin/queues/{task_id}/discard", reason="A test order")
    audit = await read(manager, f"/admin/audit?object=task&id=process_orders:{order_id}")

    assert "Say why" in silent.text
    assert "is discarded" in said.text
    assert "No dead letters." in said.text
    assert "A test order" in audit.text


async def test_clerks_see_the_queues_and_change_nothing(visitor, database):
    task_id, _ = await add_dead_task(database)
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, "/admin/queues")

    assert "KeyError" in page.text
    assert not [action for action in page.forms if action.startswith("/admin/queues")]
    assert (await send(clerk, f"/admin/queues/{task_id}/replay")).status == 403


async def test_the_queues_say_that_broker_and_workers_are_away(visitor, database):
    clerk = await visitor(Role.CLERK)

    before = await read(clerk, "/admin/queues")
    async with database() as conn:
        await heartbeats.beat(conn, "relay of a worker", now=now())
    after = await read(clerk, "/admin/queues")

    assert "The broker is away." in before.text
    assert "Nobody works." in before.text
    assert "Nobody works." not in after.text
    assert "relay of a worker" in after.text


async def test_a_letter_is_read_and_sent_again(visitor, database):
    letter_id = await add_letter(database)
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, f"/admin/notifications?status=failed&letter={letter_id}")
    body = await read(clerk, f"/admin/notifications/{letter_id}/body")
    fields = page.forms[f"/admin/notifications/{letter_id}/resend"]
    again = await send(clerk, f"/admin/notifications/{letter_id}/resend", **fields)

    assert "the shelf was empty" in body.text
    assert "550 no such mailbox" in page.text
    assert "“About your order” goes to mira@example.com again." in again.text
    async with database() as conn:
        letter = await notifications.get(conn, letter_id)
        waiting = await outbox.find(conn, dead=False)
    assert letter.email_status is Status.QUEUED
    assert [row.ref_id for row in waiting if row.task is Task.SEND_NOTIFICATIONS] == [letter_id]


async def test_all_dead_letters_are_tried_again(visitor, database):
    await add_dead_task(database)
    manager = await visitor(Role.MANAGER)

    page = await send(manager, "/admin/queues/replay")

    assert "1 task is tried again." in page.text
    async with database() as conn:
        assert (await outbox.count(conn))["dead"] == 0


async def test_a_letter_to_nobody_can_still_be_read(visitor, database):
    letter_id = await add_letter(database, recipient="no address at all")
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, f"/admin/notifications?letter={letter_id}")
    body = await read(clerk, f"/admin/notifications/{letter_id}/body")

    assert page.status == 200
    assert "the shelf was empty" in body.text


async def test_staff_write_to_a_customer_in_their_own_words(visitor, database):
    async with database() as conn:
        user_id = await add_user(conn, name="Ana", email="ana@example.com")
    clerk = await visitor(Role.CLERK)
    address = f"/admin/users/{user_id}/message"

    empty = await send(clerk, address, subject="Your parcel", body=" ")
    unnamed = await send(clerk, address, subject=" ", body="It is here.")
    page = await send(clerk, address, subject="Your parcel", body="It is here.")
    listed = await read(clerk, "/admin/notifications?status=queued")

    assert empty.status == unnamed.status == 422
    assert "#field-body" in empty.links
    assert 'name="subject" value="Your parcel"' in empty.html
    assert 'aria-describedby="fault-body"' in empty.html
    assert "#field-subject" in unnamed.links
    assert ">\nIt is here.</textarea>" in unnamed.html
    assert "A letter needs words." in empty.text
    assert "The letter to Ana is on its way." in page.text
    assert "Your parcel" in listed.text


@pytest.mark.parametrize("letter", ["x", "999999", "-1", "9" * 40, "²"])
async def test_a_letter_that_is_none_is_not_found(visitor, letter):
    clerk = await visitor(Role.CLERK)

    assert (await read(clerk, f"/admin/notifications?letter={letter}")).status == 404


async def test_categories_are_made_named_moved_and_deleted(visitor, database):
    editor = await visitor(Role.EDITOR)
    address = "/admin/categories"

    for name in ("Poetry", "Drama", "Crime"):
        assert f"{name} is a category now." in (await send(editor, address, name=name)).text
    moved = await send(editor, f"{address}/poetry/move", step="up")
    named = await send(editor, f"{address}/drama", name="Theatre", parent="crime")
    within = await send(editor, f"{address}/crime", name="Crime", parent="drama")
    full = await send(editor, f"{address}/crime/delete")
    gone = await send(editor, f"{address}/poetry/delete")

    assert "Poetry is number 2 of 3." in moved.text
    assert "Theatre is saved." in named.text
    assert "cannot lie within itself" in within.text
    assert "still has books or subcategories" in full.text
    assert "Poetry is deleted." in gone.text
    async with database() as conn:
        tree = await categories.tree(conn)
    assert [(it.name, it.parent) for it in tree] == [("Crime", None), ("Theatre", "crime")]


async def test_an_administrator_gives_roles_and_shuts_out(visitor, database):
    async with database() as conn:
        user_id = await add_user(conn, name="Ana", email="ana@example.com")
    administrator = await visitor(Role.ADMIN)
    address = f"/admin/users/{user_id}"

    found = await read(administrator, "/admin/users?q=ana")
    clerk = await send(administrator, f"{address}/role", role="clerk")
    nonsense = await send(administrator, f"{address}/role", role="king")
    out = await send(administrator, f"{address}/disabled", disabled="yes")

    assert address in found.links
    assert "Ana is clerk now." in clerk.text
    assert "There is no such role." in nonsense.text
    assert "Ana is shut out" in out.text
    async with database() as conn:
        ana = await accounts.get(conn, user_id)
    assert (ana.role, ana.disabled) == (Role.CLERK, True)


async def test_managers_see_users_and_change_nothing(visitor, database):
    async with database() as conn:
        user_id = await add_user(conn, name="Ana")
    manager = await visitor(Role.MANAGER)

    page = await read(manager, f"/admin/users/{user_id}")

    assert page.status == 200
    assert [action for action in page.forms if action.startswith("/admin")] == [
        f"/admin/users/{user_id}/message"
    ]
    assert (await send(manager, f"/admin/users/{user_id}/role", role="admin")).status == 403


async def test_whoever_is_shut_out_is_out_at_once(visitor, database):
    administrator = await visitor(Role.ADMIN)
    clerk = await visitor(Role.CLERK, email="clerk@example.com")
    async with database() as conn:
        found = await accounts.credentials(conn, "clerk@example.com")
    assert found is not None

    await send(administrator, f"/admin/users/{found[0].id}/disabled", disabled="yes")

    assert (await read(clerk, "/admin")).path.startswith("/sign-in")
    answer = await clerk.post(
        "/api/v1/session", json={"email": "clerk@example.com", "password": PASSWORD}
    )
    assert answer.status == 401


async def test_another_site_cannot_act_in_our_name(visitor, database):
    task_id, _ = await add_dead_task(database)
    manager = await visitor(Role.MANAGER)

    answer = await manager.post(
        f"/admin/queues/{task_id}/replay", headers={"Sec-Fetch-Site": "cross-site"}
    )

    assert answer.status == 403


async def test_hostile_words_stay_words_on_every_page(visitor, database):
    async with database() as conn:
        order_ids = []
        for place, words in enumerate(HOSTILE):
            user_id = await add_user(conn, name=words)
            plain = words.replace("\u202e", "")
            book = await create_book(
                conn, title=plain, authors=[plain], publisher=plain, subtitle=plain
            )
            order_ids.append(
                await add_order(
                    conn,
                    {book.id: 1},
                    number=f"EV1L-{place:04}",
                    user_id=user_id,
                    status="cancelled",
                    email=f"{words}@example.com",
                    note=words,
                    reason=words,
                    tracking=words,
                    shipping_address={
                        "name": words,
                        "line1": words,
                        "city": words,
                        "country": words,
                    },
                )
            )
            await conn.execute(
                insert(letters).values(
                    user_id=user_id,
                    order_id=order_ids[-1],
                    kind="order-cancelled",
                    status=Status.FAILED,
                    in_doubt=True,
                    recipient=words,
                    attempts=5,
                    smtp_answer=words,
                    created_at=NOON,
                )
            )
            await conn.execute(
                insert(task_rows).values(
                    task=Task.PROCESS_ORDERS,
                    ref_id=order_ids[-1],
                    due_at=NOON,
                    publish_count=1,
                    attempts=5,
                    error=words,
                    dead_at=NOON,
                    created_at=NOON,
                )
            )
            await categories.create(conn, plain, user_id=user_id, now=NOON)
    administrator = await visitor(Role.ADMIN)
    paths = ["", "/orders", "/books", "/categories", "/users", "/notifications", "/queues"]
    seen, waiting = set(), ["/admin/audit", *(f"/admin{path}" for path in paths)]

    while waiting:
        path = waiting.pop()
        seen.add(path)
        page = await read(administrator, path)
        assert page.status == 200, path
        for name, facts in page.elements:
            if name == "script":
                assert (facts.get("src") or "").startswith("/admin/static/"), path
            assert name != "img", path
            assert not any(fact.startswith("on") for fact in facts), (path, facts)
            assert not (facts.get("href") or "").lower().startswith("javascript"), path
        waiting += [
            link
            for link in dict.fromkeys(link.partition("#")[0] for link in page.links)
            if link.startswith("/admin")
            and "export." not in link
            and link not in seen
            and link not in waiting
        ][: max(0, 120 - len(seen) - len(waiting))]

    assert {f"/admin/orders/EV1L-{place:04}" for place in range(len(HOSTILE))} <= seen
