"""Backup and restore as in the guide, while customers order."""

import os
import shutil
import subprocess
from contextlib import closing

import pytest

from tests.deploy import guide
from tests.e2e.programs import Embedded, Web
from tests.e2e.shopper import Shopper, some_books
from tests.servers.mariadb import MariaDBServer

SAVE, RESTORE, SAVE_EMBEDDED, RESTORE_EMBEDDED = (
    text for _, text in guide.blocks("Backup and restore")
)
DAY = "bookstore-2026-11-25.sql.gz"


def type_in(script, folder):
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, check=True)


async def place(url, email):
    """Place the order of a guest; returns its URL."""
    async with Shopper(url) as guest:
        (book,) = await some_books(guest, 1)
        await guest.fill_cart({book["id"]: 1})
        order = await guest.order(email=email)
    return f"orders/{order['number']}?access_token={order['access_token']}"


async def seen(url, path, expect=200):
    async with Shopper(url) as guest:
        return await guest.ask("GET", path, expect=expect)


async def test_a_lost_database_is_restored_from_the_backup(tmp_path):
    with MariaDBServer() as server:
        database = server.client.create_database("bookstore")
        settings = {
            "BOOKSTORE_DATABASE_URL": database,
            "BOOKSTORE_BROKER_URL": "amqp://127.0.0.1:1",
        }
        client = f"--no-defaults --socket={server.folder}/socket -u root"
        places = {"mariadb-dump": f"mariadb-dump {client}", "mariadb -e": f"mariadb {client} -e"}
        places["| mariadb "] = f"| mariadb {client} "
        web = Web(settings)
        assert web.run("db", "upgrade").returncode == 0
        assert web.run("sample-data").returncode == 0
        with web:
            before = await place(web.url, "before@example.com")
            type_in(guide.put_in(SAVE, places), tmp_path)
            after = await place(web.url, "after@example.com")
        (saved,) = tmp_path.glob("*.sql.gz")
        saved.rename(tmp_path / DAY)
        with closing(server.client.connect()) as conn, conn.cursor() as cursor:
            cursor.execute("DROP DATABASE bookstore")

        type_in(guide.put_in(RESTORE, places), tmp_path)

        restored = Web(settings)
        assert restored.run("db", "check").returncode == 0
        assert restored.run("doctor").returncode == 0
        with restored:
            assert (await seen(restored.url, before))["status"] == "placed"
            await seen(restored.url, after, expect=404)


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="sqlite3 is not installed")
async def test_the_embedded_store_is_restored_from_the_backup(tmp_path):
    store = Embedded()
    del store.settings[
        "BOOKSTORE_SECRET_KEY"
    ]  # The restored store has its own key, without which guests' links are invalid.
    with store:
        before = await place(store.url, "before@example.com")
        type_in(SAVE_EMBEDDED, store.folder)
        after = await place(store.url, "after@example.com")
        store.stop()
        shutil.rmtree(store.folder / "var")
        os.mkdir(store.folder / "var")

        type_in(RESTORE_EMBEDDED, store.folder)

        assert store.run("db", "check").returncode == 0
        assert store.run("doctor").returncode == 0
        store.start()
        store.wait()
        assert (await seen(store.url, before))["status"] in ("placed", "confirmed")
        await seen(store.url, after, expect=404)
