"""A private MariaDB, with the durability that it has by default."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from tests import planted
from tests.servers.process import Server, find, free_port

USER = "bookstore"
PASSWORD = planted.DATABASE

#: Read at every start, before the first connection is accepted; data that were kept may know
#: another password.
INIT = f"""
CREATE OR REPLACE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;
"""

#: MariaDB refuses to run as root unless told so; as anybody else it needs no word.
AS_ROOT = ("--user=root",) if os.geteuid() == 0 else ()


@dataclass(frozen=True, slots=True)
class MariaDB:
    """A MariaDB that runs: where it is, and what tests ask of it."""

    port: int

    def url(self, database: str) -> str:
        """What `BOOKSTORE_DATABASE_URL` has to be."""
        return f"mysql+aiomysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str | None = None) -> "pymysql.Connection[Any]":
        """A blocking connection that commits each statement."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=5,
        )

    def answers(self) -> bool:
        try:
            self.connect().close()
        except pymysql.Error:
            return False
        return True

    def create_database(self, name: str) -> str:
        """A new, empty database in place of any of this name; returns its URL."""
        with closing(self.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
            cursor.execute(f"CREATE DATABASE `{name}`")
        return self.url(name)

    def empty(self, conn: "pymysql.Connection[Any]") -> None:
        """Delete every row of the connection's database but the migrations' own."""
        with conn.cursor() as cursor:
            cursor.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = database()"
                " AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'"
            )
            tables = [name for (name,) in cursor.fetchall()]
            if not tables:
                return
            # Deleting from a table is slower than to see that it is empty, and TRUNCATE is
            # slower by far.
            cursor.execute(
                " UNION ALL ".join(f"(SELECT '{name}' FROM `{name}` LIMIT 1)" for name in tables)
            )
            filled = [name for (name,) in cursor.fetchall()]
            if filled:
                cursor.execute("SET foreign_key_checks = 0, innodb_lock_wait_timeout = 5")
                for name in filled:
                    cursor.execute(f"DELETE FROM `{name}`")


class MariaDBServer(Server):
    """The server behind a `MariaDB`."""

    name = "mariadb"

    def __init__(self, data: Path | None = None, options: Sequence[str] = ()) -> None:
        """`data` is a folder that outlives the server; `options` are added to its command."""
        super().__init__()
        self.port = free_port()
        self._data = data or self.folder / "data"
        self._options = options
        self._temporary = self.folder / "tmp"
        self._temporary.mkdir()
        (self.folder / "init.sql").write_text(INIT)

    @property
    def client(self) -> MariaDB:
        return MariaDB(self.port)

    def wipe(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        if not self._data.exists():
            self._install()
        return self._popen(
            [
                find("mariadbd"),
                "--no-defaults",
                *AS_ROOT,
                f"--datadir={self._data}",
                # A server that starts removes the temporary tables it finds, a neighbour's too.
                f"--tmpdir={self._temporary}",
                f"--socket={self.folder / 'socket'}",
                f"--pid-file={self.folder / 'pid'}",
                f"--init-file={self.folder / 'init.sql'}",
                "--bind-address=127.0.0.1",
                f"--port={self.port}",
                "--skip-name-resolve",
                "--character-set-server=utf8mb4",
                "--collation-server=utf8mb4_unicode_ci",
                "--max-connections=500",
                *self._options,
            ]
        )

    def _install(self) -> None:
        subprocess.run(
            [
                find("mariadb-install-db"),
                "--no-defaults",
                *AS_ROOT,
                f"--datadir={self._data}",
                "--auth-root-authentication-method=normal",
                "--skip-name-resolve",
                "--skip-test-db",
            ],
            check=True,
            capture_output=True,
        )

    def _answers(self) -> bool:
        return self.client.answers()
