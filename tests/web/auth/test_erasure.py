"""Erasure removes all personal data of a user, and the data export contains all of it."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update

from bookstore import orders
from bookstore.backoffice import list_exports
from bookstore.database import file_store
from bookstore.database.engine import reading, transaction
from bookstore.database.tables import (
    audit_log,
    books,
    metadata,
    notifications,
    order_notes,
    retained_invoices,
    task_failures,
    users,
)
from bookstore.database.tables import orders as order_table
from bookstore.database.tables import tasks as task_rows
from bookstore.errors import NotFound
from bookstore.notifications import delivery, smtp
from bookstore.notifications.emails import StoreFacts
from bookstore.notifications.notifications import EmailStatus
from bookstore.operations import doctor
from bookstore.orders import processing
from bookstore.privacy import erasure
from bookstore.tasks import jobs, outbox
from bookstore.users.permissions import Role
from tests.factories import NOON, Trace, add_book
from tests.web.conftest import PASSWORD
from web.server.keys import ENGINE
from web.server.request_context import now as moment

ME = "/api/v1/users/me"


class Planted:
    """Unique personal data of one customer; `values` lists all of it."""

    def __init__(self, who):
        def plant(name):
            self.values.append(value := f"{who}{name}")
            return value

        self.values = []
        self.email = plant("mail@example.com").lower()
        self.values[0] = self.email
        self.name = plant("Name")
        self.agent = plant("Browser")
        self.home = self._address(plant, "Home")
        self.shipping = self._address(plant, "Ship")
        self.note, self.reason, self.tracking = plant("Note"), plant("Reason"), plant("Track")
        self.key, self.dead = plant("Key"), plant("Dead")
        self.subject, self.body, self.remark = plant("Subject"), plant("Body"), plant("Remark")
        self.answer, self.error = plant("Answer"), plant("Error")

    def _address(self, plant, kind):
        return {
            **{part: plant(f"{kind}{part}") for part in ("name", "line1", "line2", "city")},
            "postcode": "20" + plant(f"{kind}Zip")[:18],
            # Without a rule for postcodes.
            "country": "CW",
            "phone": plant(f"{kind}Phone"),
        }


@pytest.fixture
def planted():
    return Planted("Quodlibet")


@pytest.fixture
async def book(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await add_book(conn, title="Dune", price_cents=1000, stock=50)


@pytest.fixture
def work(server, settings):
    """Runs the workers until no task is due."""
    engine = server.app[ENGINE]

    async def work():
        async with transaction(engine) as conn:
            waiting = await outbox.find(conn, dead=False, after_id=0, limit=1000)
            placed = [row.ref_id for row in waiting if row.task == "process_orders"]
            await processing.process(conn, placed, trace=Trace(), now=moment())
            await outbox.complete(conn, outbox.Task.PROCESS_ORDERS, placed)
        async with reading(engine) as conn:
            waiting = await outbox.find(conn, dead=False, after_id=0, limit=1000)
        # Delayed tasks stay in the queue.
        email_ids = [
            row.ref_id for row in waiting if row.task == "send_notifications" and row.error is None
        ]
        mailer = smtp.make_mailer(settings.smtp_url)
        await delivery.DeliveryWorker(
            engine, mailer, StoreFacts.of(settings), clock=moment
        ).deliver(email_ids)

    return work


async def live(visitor, work, server, book, planted):
    """Everything that a customer can do in the store; returns the customer's client."""
    engine, clerk = server.app[ENGINE], await visitor(Role.MANAGER)
    headers = {"User-Agent": planted.agent}
    guest, anna = await visitor(), await visitor()

    async def order(client, key, **facts):
        item = {"book_id": book, "quantity": 1}
        await client.post("/api/v1/cart/items", json=item, headers=headers)
        answer = await client.post(
            "/api/v1/orders",
            json={"shipping_address": planted.shipping, "note": planted.note, **facts},
            headers={**headers, "Idempotency-Key": planted.key + key},
        )
        assert answer.status == 202
        return (await answer.json())["number"]

    async def move(number, to, **facts):
        path = f"/api/v1/admin/orders/{number}/transitions"
        assert (await clerk.post(path, json={"to": to, **facts})).status == 200

    as_guest = await order(guest, "g", email=planted.email.upper().replace("EXAMPLE", "example"))
    new = {"email": planted.email, "password": PASSWORD, "name": planted.name}
    assert (await anna.post("/api/v1/users", json=new, headers=headers)).status == 201
    user_id = (await (await anna.get(ME)).json())["id"]
    await anna.post(f"{ME}/addresses", json=planted.home, headers={"Idempotency-Key": planted.key})
    await anna.patch(f"{ME}/preferences", json={"email_messages": True})
    delivered = await order(anna, "1")
    cancelled = await order(anna, "2")
    await anna.post(f"/api/v1/orders/{cancelled}/cancel", json={"reason": planted.reason})
    message = {"user_id": user_id, "subject": planted.subject, "body": planted.body}
    await clerk.post("/api/v1/notifications", json=message)
    await work()
    for number in (as_guest, delivered):
        await move(number, "packed")
        await move(number, "shipped", tracking=planted.tracking)
        await move(number, "delivered")
    await work()
    await clerk.post("/api/v1/notifications", json=message)  # Stays in the queue.
    await anna.post("/api/v1/cart/items", json={"book_id": book, "quantity": 3})
    async with transaction(engine) as conn:
        # The e-mail address was verified, and errors of the mail server contain personal data.
        await conn.execute(
            update(users).where(users.c.id == user_id).values(email_verified_at=NOON)
        )
        mine = notifications.c.user_id == user_id
        last = await conn.scalar(select(notifications.c.id).where(mine).limit(1))
        await conn.execute(
            update(notifications)
            .where(notifications.c.id == last)
            .values(status="failed", smtp_answer=f"550 <{planted.answer}> unknown")
        )
        await conn.execute(
            insert(task_failures).values(
                task="send_notifications", ref_id=last, attempt=1, error=planted.error, at=NOON
            )
        )
        newest = await conn.scalar(select(func.max(notifications.c.id)).where(mine))
        await conn.execute(
            update(task_rows)
            .where(task_rows.c.task == "send_notifications", task_rows.c.ref_id == newest)
            .values(error=f"450 <{planted.dead}> is busy")
        )
        order_id = (await orders.get(conn, delivered)).id
        author = await conn.scalar(select(users.c.id).where(users.c.role == "manager").limit(1))
        await conn.execute(
            insert(order_notes).values(
                order_id=order_id, user_id=author, body=planted.remark, created_at=NOON
            )
        )
    return anna


async def dump(engine, *, excluded=()):
    """All rows of the database as text."""
    lines = []
    async with reading(engine) as conn:
        for table in metadata.sorted_tables:
            if table.name in excluded or (
                table.name == "book_search" and conn.dialect.name == "sqlite"
            ):
                continue
            for row in await conn.execute(select(table)):
                lines.append(f"{table.name}: {dict(row._mapping)!r}")
    return "\n".join(lines)


def sent_emails(settings):
    """The stored e-mails by file name."""
    folder = Path(settings.smtp_url.removeprefix("file:"))
    return {path.name: path.read_text() for path in folder.glob("*.eml")}


def found_in(text, planted):
    return [value for value in planted.values if value.casefold() in text.casefold()]


async def test_erasure_removes_all_personal_data(
    visitor, server, settings, book, work, planted, caplog
):
    other = Planted("Boris")
    anna = await live(visitor, work, server, book, planted)
    boris = await live(visitor, work, server, book, other)
    engine = server.app[ENGINE]
    before, emails_before = await dump(engine), sent_emails(settings)
    assert len(planted.values) == 25
    assert found_in(before, planted) == planted.values
    assert any(planted.email in text for text in emails_before.values())
    async with reading(engine) as conn:
        sums = (await conn.execute(select(order_table.c.number, order_table.c.total_cents))).all()
        broken = [finding async for finding in doctor.examine(conn, now=moment())]

    answer = await anna.delete(ME, json={"password": PASSWORD})

    assert answer.status == 204
    after = await dump(engine, excluded={"retained_invoices"})
    assert found_in(after, planted) == []
    assert found_in("\n".join(sent_emails(settings).values()), planted) == []
    assert found_in(caplog.text, planted) == []
    # The data of another customer and the accounting data are unchanged.
    assert found_in(after, other) == other.values
    assert [text for text in sent_emails(settings).values() if other.email in text] == [
        text for text in emails_before.values() if other.email in text
    ]
    async with reading(engine) as conn:
        left = (await conn.execute(select(order_table.c.number, order_table.c.total_cents))).all()
        found = [finding async for finding in doctor.examine(conn, now=moment())]
    assert sorted(left) == sorted(sums)
    assert found == broken == []
    assert (await boris.get(ME)).status == 200


async def test_the_remaining_order_data_is_anonymous(visitor, server, book, work, planted):
    anna = await live(visitor, work, server, book, planted)
    user_id = (await (await anna.get(ME)).json())["id"]
    engine = server.app[ENGINE]
    async with reading(engine) as conn:
        invoices_before = (await conn.execute(select(retained_invoices))).all()

    await anna.delete(ME, json={"password": PASSWORD})

    assert (await anna.get(ME)).status == 401
    async with reading(engine) as conn:
        own = (await orders.of_user(conn, user_id)).items
        invoices = (
            await conn.execute(select(retained_invoices).order_by(retained_invoices.c.order_id))
        ).all()
        [erased] = (
            await conn.execute(select(audit_log).where(audit_log.c.action == "erase"))
        ).all()
        [row] = (await conn.execute(select(users).where(users.c.id == user_id))).all()
    assert len(own) == 3
    assert {order.shipping_address["postcode"] for order in own} == {"20"}
    assert own[0].shipping_address == {
        "name": "Erased", "line1": "", "line2": None, "city": "", "postcode": "20",
        "country": "CW", "phone": None,
    }  # fmt: skip
    assert {order.email for order in own} == {own[0].email}
    assert own[0].email.endswith("@erased.invalid")
    assert (row.name, row.disabled_at is None, row.erased_at is None) == ("Erased", False, False)
    # Only delivered orders have retained invoices, including the guest order.
    assert invoices_before == []
    delivered = sorted(order.id for order in own if order.status == "delivered")
    assert [invoice.order_id for invoice in invoices] == delivered
    assert {invoice.address["name"] for invoice in invoices} == {planted.shipping["name"]}
    assert {invoice.retain_until.year - moment().year for invoice in invoices} == {11}
    assert (erased.user_id, erased.object_id, erased.address) == (user_id, str(user_id), None)
    assert erased.changes["email"] is None
    assert len(erased.changes["email_hash"][0]) == 64


async def test_the_email_address_can_be_registered_again(visitor, server, book, work, planted):
    anna = await live(visitor, work, server, book, planted)
    await anna.delete(ME, json={"password": PASSWORD})
    stranger = await visitor()

    tried = await stranger.post(
        "/api/v1/session", json={"email": planted.email, "password": PASSWORD}
    )
    new = {"email": planted.email, "password": "another six wells", "name": "New"}
    registered = await stranger.post("/api/v1/users", json=new)

    assert (tried.status, registered.status) == (401, 201)
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(
            update(users).where(users.c.email == planted.email).values(email_verified_at=NOON)
        )
        assert await orders.claim(conn, (await registered.json())["id"], now=NOON) == []
    for path in ("/api/v1/orders", "/api/v1/notifications", f"{ME}/addresses"):
        items = (await (await stranger.get(path)).json())["items"]
        assert [item for item in items if item.get("kind") not in ("welcome", "verify-email")] == []


async def test_erasure_is_refused_while_an_order_is_open_or_a_refund_is_due(
    visitor, server, book, work
):
    anna, manager = await visitor(Role.CUSTOMER), await visitor(Role.MANAGER)
    home = {"name": "A", "line1": "1", "city": "B", "postcode": "20095", "country": "DE"}
    numbers = []
    for key in ("1", "2"):
        await anna.post("/api/v1/cart/items", json={"book_id": book, "quantity": 1})
        placed = await anna.post(
            "/api/v1/orders", json={"shipping_address": home}, headers={"Idempotency-Key": key}
        )
        numbers.append((await placed.json())["number"])
    pay = f"/api/v1/admin/orders/{numbers[1]}/payment"
    await manager.post(pay, json={"to": "paid"})
    await manager.post(f"/api/v1/orders/{numbers[1]}/cancel")
    await work()

    early = await anna.delete(ME, json={"password": PASSWORD})
    await anna.post(f"/api/v1/orders/{numbers[0]}/cancel")
    due = await anna.delete(ME, json={"password": PASSWORD})
    await manager.post(pay, json={"to": "refunded"})
    await work()
    done = await anna.delete(ME, json={"password": PASSWORD})

    problem = await early.json()
    assert (early.status, problem["code"], problem["orders"]) == (409, "orders-open", numbers)
    assert all(number in problem["detail"] for number in numbers)
    assert (due.status, (await due.json())["orders"]) == (409, [numbers[1]])
    assert done.status == 204


async def test_erasure_needs_the_password(visitor):
    anna, guest = await visitor(Role.CUSTOMER), await visitor()

    wrong = await anna.delete(ME, json={"password": "wrong"})
    missing = await anna.delete(ME, json={})
    stranger = await guest.delete(ME, json={"password": PASSWORD})

    assert [wrong.status, missing.status, stranger.status] == [401, 422, 401]
    assert (await anna.get(ME)).status == 200


async def test_the_last_administrator_cannot_be_erased(visitor):
    admin = await visitor(Role.ADMIN)

    answer = await admin.delete(ME, json={"password": PASSWORD})

    assert answer.status == 422
    assert "last one" in (await answer.json())["detail"]


async def test_erasure_waits_for_an_email_that_is_being_sent(visitor, server):
    anna = await visitor(Role.CUSTOMER)
    user_id = (await (await anna.get(ME)).json())["id"]
    columns = {"kind": "welcome", "recipient": "x@example.com", "in_doubt": False, "attempts": 1}
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(
            insert(notifications).values(
                user_id=user_id,
                status=EmailStatus.SENDING,
                lease_until=moment().replace(year=moment().year + 1),
                created_at=NOON,
                **columns,
            )
        )

    refused = await anna.delete(ME, json={"password": PASSWORD})
    waiting = asyncio.create_task(anna.delete(ME, json={"password": PASSWORD}))
    await asyncio.sleep(0.3)
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(notifications).values(status=EmailStatus.SENT))

    assert (refused.status, (await refused.json())["code"]) == (409, "email-being-sent")
    assert (await waiting).status == 204


async def test_a_concurrent_order_prevents_the_erasure_or_is_refused(visitor, server, book):
    home = {"name": "A", "line1": "1", "city": "B", "postcode": "20095", "country": "DE"}
    for _ in range(5):
        anna = await visitor(Role.CUSTOMER)
        await anna.post("/api/v1/cart/items", json={"book_id": book, "quantity": 1})
        order = {"shipping_address": home, "email": "left@example.com"}

        placed, gone = await asyncio.gather(
            anna.post("/api/v1/orders", json=order, headers={"Idempotency-Key": "k"}),
            anna.delete(ME, json={"password": PASSWORD}),
        )

        assert (placed.status, gone.status) in {(202, 409), (409, 204), (401, 204)}
    async with reading(server.app[ENGINE]) as conn:
        emails = (await conn.scalars(select(order_table.c.email))).all()
        erased = (
            await conn.scalars(select(users.c.id).where(users.c.erased_at.is_not(None)))
        ).all()
        owners = (await conn.scalars(select(order_table.c.user_id))).all()
    assert set(owners) & set(erased) == set()
    assert len(emails) + len(erased) == 5


async def test_the_export_has_all_data_of_a_customer(visitor, server, book, work, planted):
    other = Planted("Boris")
    anna = await live(visitor, work, server, book, planted)
    await live(visitor, work, server, book, other)
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(books).values(publisher="Chilton"))
        user_id = (await (await anna.get(ME)).json())["id"]
        await orders.claim(conn, user_id, now=NOON)

    answer = await anna.get(f"{ME}/export")

    assert answer.status == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    text = await answer.text()
    assert found_in(text, planted) == planted.values
    assert found_in(text, other) == []
    exported = json.loads(text)["held"]
    assert len(exported["orders"]) == len(exported["order_lines"]) == 3
    assert "$argon2" not in text
    assert "password_hash" not in exported["users"][0]
    assert "id_hash" not in exported["sessions"][0]


async def test_an_export_needs_a_signed_in_user(client):
    assert (await client.get(f"{ME}/export")).status == 401


async def test_erasure_deletes_order_exports(visitor, server):
    anna = await visitor(Role.CUSTOMER)
    file_ids = {}
    async with transaction(server.app[ENGINE]) as conn:
        for kind in (jobs.JobKind.EXPORT_ORDERS, jobs.JobKind.EXPORT_BOOKS):
            file = await file_store.add(
                conn, b"a list", name="list.csv", media_type="text/csv", kind="export", now=NOON
            )
            job = await jobs.add(conn, kind, user_id=None, now=NOON)
            running = await jobs.begin(conn, job.id, now=NOON)
            await jobs.finish(conn, running, result_id=file.id, now=NOON)
            file_ids[kind] = file.id
        late = await jobs.add(conn, jobs.JobKind.EXPORT_ORDERS, user_id=None, now=NOON)
        running_job = await jobs.begin(conn, late.id, now=NOON)

    assert (await anna.delete(ME, json={"password": PASSWORD})).status == 204

    async with transaction(server.app[ENGINE]) as conn:
        with pytest.raises(NotFound):
            await file_store.get(conn, file_ids[jobs.JobKind.EXPORT_ORDERS])
        assert await file_store.content(conn, file_ids[jobs.JobKind.EXPORT_BOOKS]) == b"a list"
        with pytest.raises(jobs.JobConflict):
            await jobs.finish(conn, running_job, now=NOON)


async def test_erasure_deletes_search_terms_of_list_exports(visitor, server):
    anna = await visitor(Role.CUSTOMER)
    options = {"list": "users", "format": "csv", "sort": "-since", "query": {"q": "anna@"}}
    async with transaction(server.app[ENGINE]) as conn:
        waiting = await jobs.add(
            conn, jobs.JobKind.EXPORT_LIST, user_id=None, options=options, now=NOON
        )

    assert (await anna.delete(ME, json={"password": PASSWORD})).status == 204

    async with transaction(server.app[ENGINE]) as conn:
        job = await jobs.get(conn, waiting.id)
    assert (job.state, job.options) == (jobs.JobState.CANCELLED, {})
    with pytest.raises(NotFound):
        list_exports.source_of(job)


async def test_an_erased_account_cannot_be_restored(visitor, server):
    admin, anna = await visitor(Role.ADMIN), await visitor(Role.CUSTOMER)
    user_id = (await (await anna.get(ME)).json())["id"]
    await anna.delete(ME, json={"password": PASSWORD})

    enabled = await admin.patch(f"/api/v1/users/{user_id}", json={"disabled": False})
    promoted = await admin.patch(f"/api/v1/users/{user_id}", json={"role": "clerk"})
    written = await admin.post(
        "/api/v1/notifications", json={"user_id": user_id, "subject": "Hello", "body": "You"}
    )

    assert [enabled.status, promoted.status, written.status] == [422, 422, 404]
    shown = await (await admin.get(f"/api/v1/users/{user_id}")).json()
    assert (shown["name"], shown["disabled"]) == ("Erased", True)


async def test_retained_invoices_are_deleted_after_the_retention_period(
    visitor, server, book, work, planted
):
    anna = await live(visitor, work, server, book, planted)
    await anna.delete(ME, json={"password": PASSWORD})

    left = []
    for years in (10, 12):
        async with transaction(server.app[ENGINE]) as conn:
            await erasure.purge(conn, now=moment() + timedelta(days=365 * years))
            left.append(await conn.scalar(select(func.count()).select_from(retained_invoices)))

    assert left == [2, 0]
