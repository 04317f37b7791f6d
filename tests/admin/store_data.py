"""Data for pages of the dashboard: a dead task, a failed e-mail, a store that shows every form."""

from sqlalchemy import insert, select, update

from bookstore.catalogue import categories
from bookstore.database.tables import books, notifications, tasks, users
from bookstore.imports.importer import Importer
from bookstore.notifications.notifications import EmailStatus
from bookstore.tasks.job_runner import JobRunner
from bookstore.tasks.jobs import JobKind
from bookstore.tasks.outbox import Task
from tests.admin.conftest import upload
from tests.factories import NOON, add_book, add_order, create_book
from tests.web.story import COVER
from web.server.keys import ENGINE

BOOK_LIST = b"isbn,title,authors,price,stock\n9780441172717,Dune,Frank Herbert,12.90,3\n"


async def add_dead_task(database):
    """The ids of a dead task and of its order."""
    async with database() as conn:
        dune = await add_book(conn, stock=3)
        order_id = await add_order(conn, {dune: 1}, number="C3TN-88WD")
        row = await conn.execute(
            insert(tasks).values(
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


async def add_email(database, **columns):
    """The id of an e-mail that failed after 5 attempts."""
    async with database() as conn:
        values = {
            "kind": "message",
            "status": EmailStatus.FAILED,
            "in_doubt": False,
            "recipient": "mira@example.com",
            "subject": "About your order",
            "body": "Dear Mira,\n\nthe book is sold out.",
            "attempts": 5,
            "smtp_answer": "550 no such mailbox",
            "created_at": NOON,
        }
        return (await conn.execute(insert(notifications).values(values | columns))).lastrowid


async def add_data_for_every_form(server, database, admin):
    """Adds the data that makes every form of the dashboard appear.

    Returns the paths of the pages to which no other page links.
    """
    async with database() as conn:
        category = await categories.create(conn, "Science fiction", user_id=None, now=NOON)
        await categories.create(conn, "Empty", user_id=None, now=NOON)
        dune = await create_book(conn, categories=[category.slug])
        solaris = await create_book(conn, title="Solaris")
        withdrawn = await create_book(conn, title="Gone")
        await conn.execute(
            update(books).where(books.c.id == withdrawn.id).values(withdrawn_at=NOON)
        )
        mira = await conn.scalar(select(users.c.id).where(users.c.email == "mira@example.com"))
        await conn.execute(update(users).where(users.c.id == mira).values(totp_at=NOON))
        order_id = await _add_orders_with_dead_tasks(conn, dune.id, mira)
    await add_email(database, order_id=order_id)
    await upload(admin, f"/admin/books/{dune.id}/cover", {"cover": COVER}, version="1")
    file_id = await _add_imports(server, admin)
    change = {"book": str(solaris.id), "field": "add-category", "category": category.slug}
    planned = await admin.post("/admin/books/bulk", data=change)
    change = {"book": str(dune.id), "field": "remove-category", "category": category.slug}
    done = await admin.post("/admin/books/bulk", data=change)
    await admin.post(done.url.path)
    all_orders = {"all": "yes", "to": "packed", "back": "/admin/orders?status=confirmed"}
    packed = await admin.post("/admin/orders", data=all_orders)
    all_emails = {"all": "yes", "back": "/admin/notifications"}
    resent = await admin.post("/admin/notifications/resend", data=all_emails)
    export = await admin.post("/admin/books/export.csv")
    answers = (planned, done, packed, resent, export)
    return [*(answer.url.path for answer in answers), f"/admin/imports/new?file={file_id}"]


async def _add_orders_with_dead_tasks(conn, book_id, user_id):
    """An order for each status before delivery; the id of the last one."""
    for number, status in enumerate(("confirmed", "packed", "shipped")):
        order_id = await add_order(
            conn,
            {book_id: 1},
            number=f"7Q4M-XK2{number}",
            status=status,
            user_id=user_id,
            total_cents=1580,
        )
        task = {"task": "process_orders", "ref_id": order_id, "created_at": NOON}
        dead = {"attempts": 5, "error": "KeyError: 'weight'", "dead_at": NOON}
        await conn.execute(insert(tasks).values(**task, **dead, due_at=NOON, publish_count=3))
    return order_id


async def _add_imports(server, admin):
    """A finished trial import and one that has not started; the id of their uploaded file."""
    uploaded = await upload(admin, "/admin/imports", {"file": BOOK_LIST})
    file_id = uploaded.url.query["file"]
    trial = {"file": file_id, "dry_run": "yes"}
    started = await admin.post("/admin/imports/start", data=trial)
    engine = server.app[ENGINE]
    importer = Importer(engine, currency="EUR", country="DE", clock=lambda: NOON)
    runner = JobRunner(engine, {JobKind.IMPORT_BOOKS: importer}, clock=lambda: NOON)
    await runner.run(int(started.url.name))
    await admin.post("/admin/imports/start", data=trial)
    return file_id
