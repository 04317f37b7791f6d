"""Imports that are killed again and again, with customers ordering meanwhile.

    python -m tests.faults.import_kills [KILLS] [ROWS]

kills an import at random moments, on SQLite and on MariaDB, and compares the result with that of an
uninterrupted import.  It then measures checkouts with and without a running import.
"""

import asyncio
import csv
import io
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import FormData

from bookstore.database import engine as db
from bookstore.imports import importer
from tests.catalogues import catalogue
from tests.e2e.shopper import Shopper
from tests.faults import checker
from tests.faults.embedded import EmbeddedStore
from tests.faults.journal import Customer
from tests.faults.store import ScaledOut, all_accepted
from tests.servers.mariadb import MariaDBServer
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQServer

#: The result of an import, without ids and times.  Its ISBNs begin with 979-8.
LEFT = {
    "books": """
        SELECT b.isbn13, b.title, b.subtitle, b.description, b.publisher, b.year, b.language,
               b.format, b.pages, b.price_cents, b.version, s.stock
        FROM books AS b JOIN book_stock AS s ON s.book_id = b.id
        WHERE b.isbn13 BETWEEN '9798' AND '9799'
        ORDER BY b.isbn13
    """,
    "authors": """
        SELECT b.isbn13, p.position, a.name, p.role FROM book_authors AS p
        JOIN books AS b ON b.id = p.book_id JOIN authors AS a ON a.id = p.author_id
        WHERE b.isbn13 BETWEEN '9798' AND '9799'
        ORDER BY b.isbn13, p.position
    """,
    "categories": """
        SELECT b.isbn13, p.position, c.slug FROM book_categories AS p
        JOIN books AS b ON b.id = p.book_id JOIN categories AS c ON c.id = p.category_id
        WHERE b.isbn13 BETWEEN '9798' AND '9799'
        ORDER BY b.isbn13, p.position
    """,
    "ledger": """
        SELECT b.isbn13, m.delta, m.reason FROM stock_movements AS m
        JOIN books AS b ON b.id = m.book_id
        WHERE b.isbn13 BETWEEN '9798' AND '9799'
        ORDER BY b.isbn13, m.id
    """,
    "audit": """
        SELECT b.isbn13, COUNT(*) FROM audit_log AS a JOIN books AS b ON a.object_id = b.id
        WHERE a.object_type = 'book' AND b.isbn13 BETWEEN '9798' AND '9799'
        GROUP BY b.isbn13 ORDER BY b.isbn13
    """,
    "job": """
        SELECT j.state, j.`read`, j.created, j.updated, j.unchanged, j.refused
        FROM jobs AS j ORDER BY j.id DESC LIMIT 1
    """,
    "lines": """
        SELECT position, line, outcome, isbn13, field, value, reason FROM job_lines
        WHERE job_id = (SELECT MAX(id) FROM jobs) ORDER BY position
    """,
}

#: E-mails during which two workers in a row died.
GIVEN_UP = """
    SELECT id FROM notifications WHERE status = 'failed' AND in_doubt = 1
        AND smtp_answer = 'Two attempts ended without an answer from the mail server.'
"""

Rows = Callable[[str], Sequence[Any]]


async def run_through(content: bytes) -> dict[str, list[tuple[str, ...]]]:
    """The result of an uninterrupted import."""
    with tempfile.TemporaryDirectory() as folder:
        engine = db.make_engine(f"sqlite+aiosqlite:///{folder}/b.db", timeout_s=60)
        try:
            await db.upgrade(engine)
            await importer.import_file(
                engine,
                io.BytesIO(content),
                name="books.csv",
                currency="EUR",
                country="DE",
                clock=lambda: datetime.now(UTC),
            )
            async with db.reading(engine) as conn:
                found = {
                    name: (await conn.exec_driver_sql(query)).all() for name, query in LEFT.items()
                }
        finally:
            await engine.dispose()
    return {name: _plain(rows) for name, rows in found.items()}


def left(rows: Rows) -> dict[str, list[tuple[str, ...]]]:
    """The result of the import in a store."""
    return {name: _plain(rows(query)) for name, query in LEFT.items()}


def _plain(rows: Sequence[Any]) -> list[tuple[str, ...]]:
    values = (row.values() if isinstance(row, dict) else row for row in rows)
    return [tuple(map(str, row)) for row in values]


@dataclass(frozen=True, slots=True)
class Victim:
    """A store, and how the process that runs imports is killed and restarted."""

    store: EmbeddedStore | ScaledOut
    url: str
    books: Sequence[int]
    kill: Callable[[], None]
    start: Callable[[], None]
    rest: Callable[[], None]

    @staticmethod
    def embedded(store: EmbeddedStore) -> "Victim":
        def start() -> None:
            store.start("")
            store.pass_time()

        books = [int(str(book_id)) for book_id in store.books]
        program = store.program
        return Victim(store, program.url, books, program.kill, start, store.wait_until_idle)

    @staticmethod
    def scaled_out(store: ScaledOut) -> "Victim":
        def start() -> None:
            store.pass_time(leases=True)
            store.start()

        def rest() -> None:
            # Tasks of dead workers are republished at once; their e-mails wait for a lease.
            store.pass_time()
            store.settle(240)

        return Victim(store, store.web.url, store.books, store.workers.kill, start, rest)

    async def read(self) -> tuple[int, str]:
        """The number of rows that the last import has read, and its state."""
        found = await asyncio.to_thread(
            self.store.rows, "SELECT `read`, state FROM jobs ORDER BY id DESC LIMIT 1"
        )
        ((read, state),) = _plain(found)
        return int(read), state


@asynccontextmanager
async def _manager(victim: Victim) -> AsyncIterator[Shopper]:
    async with Shopper(victim.url) as manager:
        user = await manager.register()
        role = f"UPDATE users SET role = 'manager' WHERE id = {user['id']}"
        await asyncio.to_thread(victim.store.rows, role)
        yield manager


async def send(victim: Victim, content: bytes) -> None:
    """Upload the list as an editor."""
    form = FormData()
    form.add_field("file", content, filename="books.csv")
    async with _manager(victim) as manager, manager.http.post("imports", data=form) as answer:
        assert answer.status == 202, await answer.text()


async def send_again(victim: Victim) -> int:
    """Let staff resend the failed e-mails that did not arrive; returns their number.

    An e-mail fails if two workers died while sending it; kills in quick succession cause that.
    """
    found = await asyncio.to_thread(victim.store.rows, GIVEN_UP)
    arrived = {checker.notification_id(email) for email in victim.store.emails}
    missing = [int(email) for (email,) in _plain(found) if int(email) not in arrived]
    async with _manager(victim) as manager:
        for email in missing:
            await manager.ask("POST", f"admin/notifications/{email}/resend", expect=202)
    await asyncio.to_thread(victim.rest)
    return len(missing)


async def killed(victim: Victim, content: bytes, kills: int, *, seed: int = 1) -> int:
    """Import the list and kill its worker this many times, while customers order.

    Returns the number of orders accepted meanwhile; the store is idle afterwards.
    """
    chance = random.Random(seed)
    rows = sum(1 for _ in csv.reader(io.StringIO(content.decode(), newline=""))) - 1
    await send(victim, content)
    enough = asyncio.Event()
    shopping = [asyncio.create_task(_shop(victim, place, enough)) for place in range(3)]
    for number in range(kills):
        share = (number + chance.random()) / kills
        await _until(victim, lambda read, aim=share * rows: read >= aim)
        await asyncio.sleep(chance.random() * 0.2)
        victim.kill()
        await asyncio.to_thread(victim.start)
    await _until(victim, lambda read: False)
    enough.set()
    accepted = sum(await asyncio.gather(*shopping))
    await asyncio.to_thread(victim.rest)
    return accepted


async def _until(victim: Victim, reached: Callable[[int], bool], timeout_s: float = 300) -> None:
    """Wait until this many rows are read, or the import has ended."""
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        read, state = await victim.read()
        if state not in ("queued", "running") or reached(read):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"the import stands still at {read}")


async def _shop(victim: Victim, place: int, enough: asyncio.Event) -> int:
    """Order, one after the other, until it is enough; a store that is down is asked again.

    It ends between two orders, so that everybody has an answer.
    """
    accepted = 0
    while not enough.is_set():
        book_id = victim.books[(place + accepted) % len(victim.books)]
        async with Customer(victim.url, victim.store.journal) as customer:
            try:
                await customer.fill_cart({book_id: 1})
            except (aiohttp.ClientError, AssertionError, ConnectionError, json.JSONDecodeError):
                await asyncio.sleep(0.1)
                continue
            await all_accepted([customer], timeout_s=120)
            accepted += 1
            await asyncio.sleep(0.2)
    return accepted


async def checkouts(victim: Victim, seconds: float, rate: float = 8) -> list[float]:
    """The durations of checkouts, in seconds, at this rate per second."""
    took: list[float] = []

    async def one(place: int) -> None:
        async with Customer(victim.url, victim.store.journal) as customer:
            await customer.fill_cart({victim.books[place % len(victim.books)]: 1})
            await all_accepted([customer])
            took.append(sum(answer.took_s for answer in customer.answers))

    ends = time.monotonic() + seconds
    waiting = []
    while time.monotonic() < ends:
        waiting.append(asyncio.create_task(one(len(waiting))))
        await asyncio.sleep(1 / rate)
    await asyncio.gather(*waiting)
    return took


def _p95(took: Sequence[float]) -> float:
    return statistics.quantiles(took, n=20)[-1] * 1000


async def _measure(victim: Victim, seconds: float) -> None:
    """Print the p95 of checkouts without and with an import, alternating."""
    for turn in range(3):
        alone = await checkouts(victim, seconds)
        await send(victim, catalogue(12_000, seed=turn + 5))
        beside = await checkouts(victim, seconds)
        read, state = await victim.read()
        await _until(victim, lambda read: False)
        print(
            f"  checkout p95 {_p95(alone):.0f} ms alone ({len(alone)}), {_p95(beside):.0f} ms"
            f" beside an import ({len(beside)}; it was {state} at {read})",
            flush=True,
        )


def _main(kills: int, rows: int) -> None:
    content = catalogue(rows)
    wanted = asyncio.run(run_through(content))
    with tempfile.TemporaryDirectory() as folder:
        with EmbeddedStore(Path(folder)) as embedded:
            asyncio.run(_report("SQLite", Victim.embedded(embedded), content, kills, wanted))
        servers = MariaDBServer(), RabbitMQServer()
        try:
            for server in servers:
                server.start()
                wait_until(server.client.answers, 60)
            mariadb, rabbitmq = (server.client for server in servers)
            with ScaledOut(mariadb, rabbitmq, Path(folder), "kills") as scaled_out:
                scaled_out.start()
                asyncio.run(
                    _report("MariaDB", Victim.scaled_out(scaled_out), content, kills, wanted)
                )
        finally:
            for server in servers:
                server.close()


async def _report(name: str, victim: Victim, content: bytes, kills: int, wanted: object) -> None:
    """Kill and measure in one event loop: programs end with the thread that started them, and
    threads with the loop.
    """
    started = time.monotonic()
    accepted = await killed(victim, content, kills)
    same = left(victim.store.rows) == wanted
    print(
        f"{name}: {kills} kills in {time.monotonic() - started:.0f} s,"
        f" {'equal to' if same else 'OTHER THAN'} one that ran through;"
        f" {accepted} orders meanwhile; {await send_again(victim)} e-mails had failed",
        flush=True,
    )
    for finding in await victim.store.findings():
        print(f"  {finding}", flush=True)
    await _measure(victim, 10)


if __name__ == "__main__":
    _main(*map(int, (*sys.argv[1:], *("20", "6000")[len(sys.argv) - 1 :])))
