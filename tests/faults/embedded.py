"""The embedded store on SQLite, killed while orders are in flight."""

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Self

from bookstore.operations.doctor import Finding
from tests.e2e.programs import Embedded
from tests.faults import checker
from tests.faults.journal import Customer, Journal
from tests.faults.store import A_WHILE_S, all_accepted, ask_all
from tests.servers.process import wait_until

IN_FLIGHT = 10
EARLIER = f"strftime('%Y-%m-%d %H:%M:%f000', {{}}, '-{A_WHILE_S} seconds')"


class EmbeddedStore:
    """One process that is web, workers and broker."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.program = Embedded({"BOOKSTORE_RATE_LIMITS": "off", **(settings or {})})
        self.database = self.program.folder / "var" / "bookstore.db"
        self._path = folder / "embedded.jsonl"

    def __enter__(self) -> Self:
        self.journal = Journal(self._path)
        self.start("")
        self.books = [
            book_id for (book_id,) in self.rows("SELECT book_id FROM book_stock LIMIT 10")
        ]
        for book_id in self.books:
            self.rows(
                "INSERT INTO stock_movements (book_id, delta, reason, created_at) VALUES"
                f" ({book_id}, 1000, 'received', '2026-01-01 00:00:00.000000')"
            )
            self.rows(f"UPDATE book_stock SET stock = stock + 1000 WHERE book_id = {book_id}")
        return self

    def __exit__(self, *_: object) -> None:
        self.program.close()
        self.journal.close()

    def start(self, armed: str) -> None:
        self.program.settings["BOOKSTORE_FAILPOINT"] = armed
        self.program.start()
        self.program.wait()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.database, timeout=10)) as conn, conn:
            return list(conn.execute(query))

    def pass_time(self) -> None:
        """Make tasks due now that are due later; no process is alive to hold a lease."""
        self.rows(f"UPDATE tasks SET due_at = {EARLIER.format('due_at')}")
        self.rows(
            f"UPDATE notifications SET lease_until = {EARLIER.format('lease_until')}"
            " WHERE lease_until IS NOT NULL"
        )

    def wait_until_idle(self) -> None:
        wait_until(lambda: not self.rows("SELECT 1 FROM tasks WHERE dead_at IS NULL"), 60)

    @property
    def emails(self) -> list[EmailMessage]:
        return [
            message_from_bytes(path.read_bytes(), policy=policy.default)
            for path in self.program.mail.glob("*.eml")
        ]

    async def findings(self) -> list[Finding]:
        url = f"sqlite+aiosqlite:///{self.database}"
        return await checker.findings(url, self.journal, self.emails)

    def kill_at(self, place: str, hit: int = 1) -> list[Finding]:
        """Violated invariants after a kill with ten orders in flight and a restart."""
        return asyncio.run(self._kill_at(place, hit))

    async def _kill_at(self, place: str, hit: int) -> list[Finding]:
        self.program.kill()
        self.start(f"{place}:{hit}:kill")
        async with AsyncExitStack() as stack:
            customers = [
                await stack.enter_async_context(Customer(self.program.url, self.journal))
                for _ in range(IN_FLIGHT)
            ]
            for number, customer in enumerate(customers):
                await customer.fill_cart({self.books[number]: 1})
            await ask_all(Customer.ask_for_order, customers)
            cancelling = [customer for customer in customers[:3] if place[0] == "C"]
            await ask_all(Customer.ask_to_cancel, cancelling)
            await asyncio.to_thread(wait_until, lambda: not self.program.running, 20)
            self.program.kill()
            self.pass_time()
            self.start("")
            await all_accepted(customers)
            statuses = await ask_all(Customer.ask_to_cancel, cancelling)
            assert {*statuses} <= {200, 409}
        await asyncio.to_thread(self.wait_until_idle)
        return await self.findings()
