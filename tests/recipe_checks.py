"""Checks of the recipes in docs/contributing.md: `python -m tests.recipe_checks NAME`.

They run in a copy of the source to which a recipe was applied (`tests/test_recipes.py`).
"""

import asyncio
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner
from sqlalchemy import update

import actors
from actors.broker import broker
from bookstore import orders
from bookstore.cli.main import main as bookstore
from bookstore.database import engine as db
from bookstore.database.tables import users
from bookstore.notifications import emails
from bookstore.notifications import notifications as queued
from bookstore.notifications.emails import EmailKind, StoreFacts
from bookstore.tasks.outbox import Task
from bookstore.tasks.publisher import QUEUES
from bookstore.users.permissions import Role
from config.settings import read_settings
from tests import book_fields
from tests.e2e.programs import Embedded
from tests.factories import NOON, add_book, add_order, add_user
from tests.servers.process import wait_until
from tests.web.conftest import open_session
from web.app import make_app

LIST = """isbn,title,authors,price,series
9780306406157,Autumn Light,Noor Haddad,18.90,Seasons
"""


def run(*command: str) -> str:
    """The output of `bookstore ...`."""
    done = CliRunner().invoke(bookstore, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@asynccontextmanager
async def staff_client() -> AsyncIterator[TestClient]:
    """A signed-in administrator's client of the application."""
    server = TestServer(await make_app(read_settings()))
    await server.start_server(access_log=None)
    engine = db.make_engine(read_settings().database_url, timeout_s=20)
    async with db.transaction(engine) as conn:
        user_id = await add_user(conn, role=Role.ADMIN)
        session_id = await open_session(conn, user_id, Role.ADMIN)
    await engine.dispose()
    async with TestClient(server, cookies={"sid": session_id}) as client:
        yield client


async def text_of(client: TestClient, path: str) -> str:
    answer = await client.get(path)
    text = await answer.text()
    assert answer.status == 200, f"{path}: {answer.status} {text[:500]}"
    return text


def setting() -> None:
    os.environ["BOOKSTORE_STORE_PHONE"] = "+49 40 1234"
    assert read_settings().store_phone == "+49 40 1234"
    assert "+49 40 1234" in run("config", "show")
    assert "BOOKSTORE_STORE_PHONE" in run("config", "reference")


def actor() -> None:
    assert {*map(str, Task)} == broker.actors.keys(), actors.__all__
    assert broker.get_actor("greet_users").queue_name == QUEUES[Task("greet_users")]
    with Embedded() as store:
        database = Path(store.settings["BOOKSTORE_VAR_DIR"]) / "bookstore.db"
        with closing(sqlite3.connect(database, timeout=30)) as conn:
            conn.execute(
                "INSERT INTO tasks (task, ref_id, due_at, publish_count, attempts, created_at)"
                " VALUES ('greet_users', 7, '2026-01-01 00:00:00.000000', 0, 0,"
                " '2026-01-01 00:00:00.000000')"
            )
            conn.commit()
            left = "SELECT 1 FROM tasks WHERE task = 'greet_users'"
            wait_until(lambda: conn.execute(left).fetchone() is None)
        assert "greeted user 7" in store.output()


async def payment_provider() -> None:
    engine = db.make_engine(read_settings().database_url, timeout_s=20)
    async with db.transaction(engine) as conn:
        await add_order(
            conn,
            {await add_book(conn, stock=3): 1},
            number="CASH-0001",
            status="confirmed",
            payment_status="paid",
            payment_provider="cash_on_delivery",
        )
        found = await orders.cancel(
            conn, "CASH-0001", actor="guest", by_staff=False, reason=None, now=NOON
        )
    await engine.dispose()
    assert str(found.payment_status) == "refunded"


async def email() -> None:
    engine = db.make_engine(read_settings().database_url, timeout_s=20)
    facts = StoreFacts.of(read_settings())
    async with db.transaction(engine) as conn:
        user_id = await add_user(conn, email="mira@example.com", name="Mira")
        for language, heading in (("en", "Happy birthday to you"), ("de", "Alles Gute")):
            await conn.execute(update(users).values(language=language))
            email_id = await queued.queue(
                conn, EmailKind("birthday"), recipient="mira@example.com", user_id=user_id, now=NOON
            )
            queued_email = await queued.get_email(conn, email_id)
            assert heading in emails.html(queued_email, facts)
            sent = message_from_bytes(emails.render(queued_email, facts).content, policy=default)
            assert sent["Subject"] in ("Happy birthday", "Herzlichen Glückwunsch zum Geburtstag")
            assert (sent["Subject"] == "Happy birthday") == (language == "en")
            texts = [it.get_content() for it in sent.iter_parts()]
            assert ("many good books" in texts[0]) == (language == "en")
            assert ("Buch aussuchen" in texts[1]) == (language == "de")
    await engine.dispose()


async def admin_list() -> None:
    async with staff_client() as client:
        assert "0 files" in await text_of(client, "/admin/files?kind=cover")
        assert "id,name" in await text_of(client, "/admin/files/export.csv")


async def book_field() -> None:
    forgotten = book_fields.forgotten()
    assert not forgotten, forgotten
    await asyncio.to_thread(Path("list.csv").write_text, LIST)
    await asyncio.to_thread(run, "import", "books", "list.csv")
    async with staff_client() as client:
        [book] = (await (await client.get("/api/v1/books")).json())["items"]
        assert book["series"] == "Seasons"
        assert 'value="Seasons"' in await text_of(client, f"/admin/books/{book['id']}")
    exported = await asyncio.to_thread(run, "export", "books")
    assert "Seasons" in exported
    assert "series" in exported.splitlines()[0]


CHECKS = {
    it.__name__: it for it in (setting, actor, payment_provider, email, admin_list, book_field)
}


def check(name: str) -> None:
    """Run a check in an empty store; raises AssertionError or another exception if it fails."""
    with TemporaryDirectory() as folder:
        os.environ["BOOKSTORE_VAR_DIR"] = folder
        os.chdir(folder)
        if name not in ("setting", "actor"):
            run("db", "upgrade")
        done = CHECKS[name]()
        if done is not None:
            asyncio.run(done)


if __name__ == "__main__":
    check(sys.argv[1])
