"""The two accounts of operating.md in a private MariaDB: one creates tables, one runs the store."""

import os
import subprocess
import sys
from pathlib import Path

from tests.servers.mariadb import PASSWORD, USER, MariaDB

ROOT = Path(__file__).parents[2]
#: The privileges of migrations.
MIGRATES = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES, DROP"


def prepare(mariadb: MariaDB, database: str) -> str:
    """Create a database whose tables belong to another account; returns the store's URL."""
    wide = mariadb.create_database(database)
    host = "127.0.0.1"
    maker, store = f"{database}_maker", f"{database}_store"
    urls = {name: wide.replace(f"//{USER}:", f"//{name}:") for name in (maker, store)}
    with mariadb.connect() as conn, conn.cursor() as cursor:
        for name in (maker, store):
            cursor.execute(f"CREATE OR REPLACE USER '{name}'@'{host}' IDENTIFIED BY '{PASSWORD}'")
        cursor.execute(f"GRANT {MIGRATES} ON `{database}`.* TO '{maker}'@'{host}'")
        run(urls[maker], "db", "upgrade")
        for statement in run(urls[maker], "db", "grants", f"{store}@{host}").splitlines():
            cursor.execute(statement)
    return urls[store]


def run(database_url: str, *command: str) -> str:
    """The output of `bookstore ...`, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "bookstore.cli", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), "BOOKSTORE_DATABASE_URL": database_url},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
