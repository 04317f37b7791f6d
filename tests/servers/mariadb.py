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

#: Executed at every start, before the first connection is accepted; existing data may have another
#: password.
INIT = f"""
CREATE OR REPLACE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;
"""

#: MariaDB refuses to run as root without this option.
AS_ROOT = ("--user=root",) if os.geteuid() == 0 else ()


@dataclass(frozen=True, slots=True)
class MariaDB:
    """A running MariaDB: its address, and helpers for tests."""

    port: int

    def url(self, database: str) -> str:
        """The value for `BOOKSTORE_DATABASE_URL`."""
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
        """Create an empty database, replacing one of this name; returns its URL."""
        with closing(self.connect()) as conn, conn.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
            cursor.execute(f"CREATE DATABASE `{name}`")
        return self.url(name)

    def empty(self, conn: "pymysql.Connection[Any]") -> None:
        """Delete all rows of the connection's database, except those of alembic."""
        with conn.cursor() as cursor:
            cursor.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = database()"
                " AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'"
            )
            tables = [name for (name,) in cursor.fetchall()]
            if not tables:
                return
            # Checking whether a table is empty is faster than DELETE, and TRUNCATE is the slowest.
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
        """`data` is a folder that is kept after the server ends; `options` extend its command."""
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
                # A starting server removes temporary tables here, even those of other servers.
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
