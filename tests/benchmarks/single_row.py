"""The single-row client: an application that processes one order after the other, stock first.

Each order is one transaction with one round trip per statement, in the cheapest form of the driver,
and writes the same rows as the store. A conditional UPDATE deducts the stock at the beginning, so
other orders of the same book wait until COMMIT. `python -m tests.benchmarks.single_row PORT
DATABASE FILE` processes the orders whose ids are in the file, over `CONNECTIONS` connections.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiomysql

from bookstore import pricing
from tests.benchmarks import side_by_side
from tests.servers.mariadb import PASSWORD, USER

#: Connections per process; several processes, so that one Python thread is not the limit.
CONNECTIONS, PROCESSES = 8, 2


async def process(conn: aiomysql.Connection, order_id: int) -> None:
    """Confirm one order; the stock of this benchmark is sufficient for all orders."""
    now = datetime.now(UTC).replace(tzinfo=None)
    async with conn.cursor() as cursor:
        await cursor.execute(
            "SELECT book_id, quantity, unit_price_cents FROM order_lines WHERE order_id = %s"
            " ORDER BY book_id",
            [order_id],
        )
        lines = await cursor.fetchall()
        for book_id, quantity, _ in lines:
            taken = await cursor.execute(
                "UPDATE book_stock SET stock = stock - %s WHERE book_id = %s AND stock >= %s",
                [quantity, book_id, quantity],
            )
            assert taken == 1
        await cursor.execute(
            "SELECT user_id, email, terms, last_seq, placed_at FROM orders"
            " WHERE id = %s AND status = 'placed' FOR UPDATE",
            [order_id],
        )
        user_id, email, terms, seq, placed_at = await cursor.fetchone()
        sums = [(quantity, unit_price_cents) for _, quantity, unit_price_cents in lines]
        total_cents = pricing.totals(sums, pricing.Rates(**json.loads(terms))).total_cents
        await cursor.execute(
            "DELETE FROM tasks WHERE task = 'process_orders' AND ref_id = %s", [order_id]
        )
        await cursor.executemany(
            "INSERT INTO stock_movements (book_id, delta, reason, order_id, created_at)"
            " VALUES (%s, %s, 'sold', %s, %s)",
            [(book_id, -quantity, order_id, now) for book_id, quantity, _ in lines],
        )
        await cursor.execute(
            "UPDATE orders SET status = 'confirmed', total_cents = %s, last_seq = %s,"
            " updated_at = %s WHERE id = %s",
            [total_cents, seq + 1, now, order_id],
        )
        await cursor.execute(
            "INSERT INTO order_events (order_id, seq, kind, at, actor, attempt, worker, waited_ms)"
            " VALUES (%s, %s, 'confirmed', %s, 'store', 1, 'single row', %s)",
            [order_id, seq + 1, now, round((now - placed_at).total_seconds() * 1000)],
        )
        await cursor.execute(
            "INSERT INTO notifications (order_id, kind, user_id, recipient, status, in_doubt,"
            " attempts, created_at) VALUES (%s, 'order-confirmed', %s, %s, 'queued', 0, 0, %s)",
            [order_id, user_id, email, now],
        )
        await cursor.execute(
            "INSERT INTO tasks (task, ref_id, due_at, publish_count, attempts, created_at)"
            " VALUES ('send_notifications', %s, %s, 0, 0, %s)",
            [cursor.lastrowid, now + timedelta(seconds=30), now],
        )
    await conn.commit()


async def work_off(port: int, database: str, order_ids: Sequence[int]) -> None:
    """Process all orders over `CONNECTIONS` connections."""
    waiting = list(reversed(order_ids))

    async def one_after_the_other() -> None:
        conn = await aiomysql.connect(
            host="127.0.0.1",
            port=port,
            user=USER,
            password=PASSWORD,
            db=database,
            charset="utf8mb4",
            init_command="SET SESSION tx_isolation = 'READ-COMMITTED', time_zone = '+00:00'",
        )
        while waiting:
            await process(conn, waiting.pop())
        conn.close()

    await asyncio.gather(*(one_after_the_other() for _ in range(CONNECTIONS)))


def start(
    port: int, database: str, order_ids: Sequence[int], folder: Path
) -> "subprocess.Popen[str]":
    """Process these orders in `PROCESSES` processes, which end when none is left."""
    files = [folder / f"ids-{number}" for number in range(PROCESSES)]
    for number, file in enumerate(files):
        file.write_text("\n".join(map(str, order_ids[number::PROCESSES])))
    command = [sys.executable, "-m", "tests.benchmarks.single_row", str(port), database, "{}"]
    return side_by_side.start(command, files)


if __name__ == "__main__":
    ids = [int(line) for line in Path(sys.argv[3]).read_text().split()]
    asyncio.run(work_off(int(sys.argv[1]), sys.argv[2], ids))
