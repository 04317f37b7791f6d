"""The limit: a stored procedure that processes one order per transaction, without a queue.

mysqlslap calls it, because it needs the least CPU time.
"""

import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql

from tests.benchmarks import side_by_side
from tests.servers.mariadb import PASSWORD, USER
from tests.servers.process import find

CONNECTIONS = 8
SQL = Path(__file__).with_suffix(".sql")


def create(conn: "pymysql.Connection[Any]") -> None:
    """Create the procedure."""
    text = SQL.read_text()
    with closing(conn), conn.cursor() as cursor:
        cursor.execute(text[text.index("CREATE PROCEDURE") :])
        # For new connections; the engines of the store set it themselves.
        cursor.execute("SET GLOBAL tx_isolation = 'READ-COMMITTED'")


def start(
    port: int, database: str, order_ids: Sequence[int], folder: Path, *, stock_first: bool
) -> "subprocess.Popen[str]":
    """Process these orders over `CONNECTIONS` connections, one call per order.

    The files with the calls are in `folder` while the process runs.
    """
    files = [folder / f"calls-{connection}.sql" for connection in range(CONNECTIONS)]
    for connection, file in enumerate(files):
        calls = [
            f"CALL process_order({order_id}, {int(stock_first)})"
            for order_id in order_ids[connection::CONNECTIONS]
        ]
        file.write_text(";".join(calls))
    slap = [
        find("mysqlslap"),
        "--no-defaults",
        "--host=127.0.0.1",
        f"--port={port}",
        f"--user={USER}",
        f"--password={PASSWORD}",
        "--no-drop",
        f"--create-schema={database}",
        "--concurrency=1",
        "--delimiter=;",
        "--query={}",
    ]
    return side_by_side.start(slap, files)
