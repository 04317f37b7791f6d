"""Times and query counts of the dashboard's pages with the data of a year.

`python -m tests.benchmarks.dashboard [--books N] [--orders N] [--emails N]` creates the
data by SQL and requests each page several times as an administrator. It prints the shortest and the
median time, and the CPU time of the store and its database per request. The limit applies to the
CPU time: for pages whose data is in memory it equals the time on an idle machine.
"""

import asyncio
import logging
import os
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import Engine, event, select
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database import engine as db
from bookstore.database.engine import reading, transaction
from bookstore.database.tables import notifications, orders, tasks
from bookstore.users import passwords
from bookstore.users.permissions import Role
from config.settings import read_settings
from tests import crowd
from tests.benchmarks.cpu import cpu_s, session_of
from tests.factories import add_user
from tests.servers.mariadb import MariaDBServer
from web.app import make_app

#: The limits for the time and the queries of a page.
LIMIT_MS, MOST_QUERIES = 150, 12
ROUNDS = 7
WHO = {"email": "admin@example.com", "password": "eleven blue lanterns"}


async def pages(engine: AsyncEngine) -> list[str]:
    """The URL of each page, with its most expensive parameters."""
    async with reading(engine) as conn:
        number = await conn.scalar(select(orders.c.number).where(orders.c.status == "confirmed"))
        email = await conn.scalar(select(orders.c.email).order_by(orders.c.id.desc()))
        user_id = await conn.scalar(select(orders.c.user_id).where(orders.c.user_id.is_not(None)))
        email_id = await conn.scalar(select(notifications.c.id).order_by(notifications.c.id.desc()))
        task = await conn.scalar(select(tasks.c.id))
    return [
        "",
        "?days=7",
        "?days=30",
        "/orders",
        "/orders?status=confirmed",
        "/orders?status=unpaid&size=100",
        "/orders?sort=-total",
        "/orders?sort=total",
        "/orders?sort=-state",
        "/orders?sort=payment&size=100",
        "/orders/export.xlsx",
        "/orders?payment=paid&since=2026-01-01",
        f"/orders?q={email}",
        f"/orders?q={str(number)[:4]}",
        "/orders?q=lind&size=100",
        f"/orders/{number}",
        f"/orders/slips?number={number}",
        "/books",
        "/books?view=low",
        "/books?q=lind&sort=-price",
        "/books/7",
        "/books/7/stock",
        "/books/7/stock?sort=why",
        "/categories",
        "/authors",
        "/users",
        "/users?q=mira&sort=name",
        f"/users/{user_id}",
        "/notifications",
        "/notifications?status=failed",
        "/notifications?sort=-tries",
        "/notifications?sort=state",
        f"/notifications?q={email}",
        f"/notifications?email={email_id}",
        "/queues",
        "/queues?state=waiting&sort=-tries",
        f"/queues?task={task}" if task else "/queues?state=waiting",
        "/imports",
        "/audit",
    ]


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements executed while the block runs."""
    asked: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            asked.append(statement)

    # All engines: read-only requests have a separate one.
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def fill(url: str, wanted: Namespace) -> None:
    """Create the data."""
    engine = db.make_engine(url, timeout_s=600)
    await db.upgrade(engine)
    started = time.perf_counter()
    moment = datetime.now(UTC)
    await crowd.add_books(engine, wanted.books, now=moment)
    await crowd.add_order_history(
        engine, orders_number=wanted.orders, emails_number=wanted.emails, now=moment
    )
    kept = await passwords.hash(WHO["password"])
    async with transaction(engine) as conn:
        await add_user(conn, email=WHO["email"], role=Role.ADMIN, password_hash=kept)
    print(f"\nfilled in {time.perf_counter() - started:.0f} s", flush=True)
    await engine.dispose()


async def ask(name: str, url: str, folder: Path, used_s: Callable[[], float]) -> bool:
    """Request every page; returns whether all are within their limits.

    `used_s` returns the CPU seconds of the database process so far.
    """
    print(f"\n{name}: quickest, middle, CPU time", flush=True)
    engine = db.make_engine(url, timeout_s=600)
    found = await pages(engine)
    await engine.dispose()
    well = True
    os.environ |= {
        "BOOKSTORE_DATABASE_URL": url,
        "BOOKSTORE_BROKER_URL": "amqp://127.0.0.1:1",
        "BOOKSTORE_VAR_DIR": str(folder),
        "BOOKSTORE_RATE_LIMITS": "off",
        "BOOKSTORE_SECRET_KEY": "no secret outside of this benchmark",
    }
    settings = read_settings()
    async with TestServer(await make_app(settings)) as server, TestClient(server) as client:
        answer = await client.post("/api/v1/session", json=WHO)
        assert answer.status == 200, await answer.text()
        for path in found:
            well &= await _page(client, f"/admin{path}", used_s)
    return well


async def _page(client: TestClient, path: str, used_s: Callable[[], float]) -> bool:
    # The first request compiles the statements and the template.
    await (await client.get(path)).read()
    times = []
    used_before_s = time.process_time() + used_s()
    with counted() as asked:
        for _ in range(ROUNDS):
            asked.clear()
            started = time.perf_counter()
            answer = await client.get(path)
            await answer.read()
            times.append((time.perf_counter() - started) * 1000)
            assert answer.status == 200, (path, answer.status)
    used_ms = (time.process_time() + used_s() - used_before_s) * 1000 / ROUNDS
    slow = used_ms > LIMIT_MS or len(asked) > MOST_QUERIES
    print(
        f"  {min(times):7.1f} ms {statistics.median(times):7.1f} ms {used_ms:7.1f} ms"
        f" {len(asked):3} queries  {path}{'   OVER' if slow else ''}",
        flush=True,
    )
    return not slow


async def main(wanted: Namespace) -> int:
    """Both databases, one after the other; returns 1 if a page exceeded its limits."""
    well = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "sqlite" in wanted.databases:
            url = f"sqlite+aiosqlite:///{folder / 'bookstore.db'}"
            await fill(url, wanted)
            well &= await ask("SQLite", url, folder, lambda: 0)
        if "mariadb" in wanted.databases:
            with MariaDBServer() as server:
                url = server.client.create_database("dashboard")
                await fill(url, wanted)
                session = session_of(server)
                well &= await ask("MariaDB", url, folder, lambda: cpu_s(session))
    return 0 if well else 1


if __name__ == "__main__":
    parser = ArgumentParser(description="The dashboard's pages, with a year behind them.")
    parser.add_argument("databases", nargs="*", default=["sqlite", "mariadb"])
    parser.add_argument("--books", type=int, default=10_000)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--emails", type=int, default=100_000)
    # No broker runs here, so its warnings are expected.
    logging.disable(logging.WARNING)
    sys.exit(asyncio.run(main(parser.parse_args())))
