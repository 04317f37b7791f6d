"""A scaled-out store of real processes, which a test can break and repair."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self, TypeVar

import pymysql.cursors

from bookstore.operations.doctor import Finding
from tests.e2e.programs import Web, Workers
from tests.faults import checker
from tests.faults.journal import Customer, Journal
from tests.servers.mariadb import MariaDB
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.smtp import SmtpSink

T = TypeVar("T")

COPIES = 1_000_000
#: Longer than the lease of an e-mail and the first pauses of the relay.
A_WHILE_S = 120

_UNCLAIMED = """
    SELECT COUNT(*) FROM tasks AS t LEFT JOIN notifications AS n
        ON t.task = 'send_notifications' AND n.id = t.ref_id AND n.status = 'sending'
    WHERE t.dead_at IS NULL AND n.id IS NULL
"""


class OneWorker(Workers):
    """Actors in one process, which starts sooner and dies as a whole."""

    command = ("-m", "dramatiq", "actors", "-p", "1", "-t", "8")


class ScaledOut:
    """Web and workers with a database and a virtual host of their own.

    `settings` may connect the programs through proxies.
    """

    def __init__(
        self,
        mariadb: MariaDB,
        rabbitmq: RabbitMQ,
        folder: Path,
        name: str,
        settings: Mapping[str, str] | None = None,
        workers: type[Workers] = OneWorker,
    ) -> None:
        self.mariadb = mariadb
        self.rabbitmq = rabbitmq
        self.name = name
        self.sink = SmtpSink()
        self.journal: Journal
        self._folder = folder
        self.database_url = mariadb.create_database(name)
        self._settings = {
            "BOOKSTORE_DATABASE_URL": self.database_url,
            "BOOKSTORE_BROKER_URL": rabbitmq.create_vhost(name),
            "BOOKSTORE_SMTP_URL": self.sink.url,
            "BOOKSTORE_RATE_LIMITS": "off",
            "BOOKSTORE_DATABASE_TIMEOUT_S": "2",
            **(settings or {}),
        }
        self.web = Web(self._settings)
        self.workers = workers(self._settings)
        self.books: list[int] = []

    def __enter__(self) -> Self:
        for command in (("db", "upgrade"), ("sample-data",)):
            done = self.web.run(*command)
            assert done.returncode == 0, done.stderr
        self.books = [row["id"] for row in self.rows("SELECT id FROM books ORDER BY id LIMIT 20")]
        for book_id in self.books:
            self.set_stock(book_id, COPIES)
        self.sink.start()
        self.journal = Journal(self._folder / f"{self.name}.jsonl")
        return self

    def __exit__(self, *_: object) -> None:
        for program in (self.web, self.workers):
            program.close()
        self.sink.stop()
        self.journal.close()

    def start(self, web: str = "", workers: str = "") -> None:
        """Start what does not run, with these crash points armed."""
        for program, armed in ((self.web, web), (self.workers, workers)):
            program.settings["BOOKSTORE_FAILPOINT"] = armed
            program.start()
        self.web.wait()
        self.workers.wait()

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        with (
            closing(self.mariadb.connect(self.name)) as conn,
            conn.cursor(pymysql.cursors.DictCursor) as cursor,
        ):
            cursor.execute(query, parameters)
            return list(cursor.fetchall())

    def value(self, query: str, *parameters: object) -> Any:
        (row,) = self.rows(query, *parameters)
        (value,) = row.values()
        return value

    def set_stock(self, book_id: int, copies: int) -> None:
        """Set the stock of a book, with the movement that explains it."""
        self.rows(
            "INSERT INTO stock_movements (book_id, delta, reason, created_at)"
            " SELECT book_id, %s - stock, 'count', NOW(6) FROM book_stock WHERE book_id = %s",
            copies,
            book_id,
        )
        self.rows("UPDATE book_stock SET stock = %s WHERE book_id = %s", copies, book_id)

    def pass_time(self, *, leases: bool = False) -> None:
        """Make tasks due now that are due later; leases only if no worker is alive to hold one."""
        self.rows(f"UPDATE tasks SET due_at = due_at - INTERVAL {A_WHILE_S} SECOND")
        if leases:
            self.rows(
                f"UPDATE notifications SET lease_until = lease_until - INTERVAL {A_WHILE_S} SECOND"
            )

    def forget_messages(self) -> None:
        """Empty all queues of tasks, like a broker that lost its disk."""
        for queue in self.rabbitmq.ask("GET", f"queues/{self.name}"):
            if queue["exclusive"]:
                continue  # An exclusive queue for events; only its process may use it.
            self.rabbitmq.ask("DELETE", f"queues/{self.name}/{queue['name']}/contents")

    def waiting(self) -> int:
        return int(self.value("SELECT COUNT(*) FROM tasks WHERE dead_at IS NULL"))

    def wait_until_idle(self, timeout_s: float = 60) -> None:
        """Return when only dead tasks are left."""
        try:
            wait_until(lambda: not self.waiting(), timeout_s)
        except TimeoutError:
            left = self.rows("SELECT * FROM tasks WHERE dead_at IS NULL LIMIT 5")
            raise AssertionError(f"{self.waiting()} tasks are waiting: {left}") from None

    def settle(self, timeout_s: float = 60) -> None:
        """Return when nothing is left to do.  Claims without a recorded result are released, as
        their leases would be in a minute."""
        wait_until(lambda: not self.value(_UNCLAIMED), timeout_s)
        time.sleep(1)  # E-mails claimed by a live process are sent by then.
        if self.waiting():
            self.pass_time(leases=True)
        self.wait_until_idle(timeout_s)

    async def customers(
        self, stack: AsyncExitStack, count: int, books: Sequence[int] | None = None
    ) -> list[Customer]:
        """Guests with full carts: each has two books, overlapping with those of others."""
        books = books or self.books
        made = [
            await stack.enter_async_context(Customer(self.web.url, self.journal))
            for _ in range(count)
        ]
        quantities = [
            dict.fromkeys({books[place % len(books)], books[(place + 1) % len(books)]}, 1)
            for place in range(count)
        ]
        for start in range(0, count, 20):
            await asyncio.gather(
                *(
                    customer.fill_cart(wanted)
                    for customer, wanted in zip(
                        made[start : start + 20], quantities[start : start + 20], strict=True
                    )
                )
            )
        return made

    @property
    def emails(self) -> list[EmailMessage]:
        return self.sink.emails

    async def findings(self) -> list[Finding]:
        return await checker.findings(self.database_url, self.journal, self.emails)


async def all_accepted(customers: Iterable[Customer], timeout_s: float = 30) -> None:
    """Let all customers repeat their request, with the same key, until it is accepted."""
    ends = time.monotonic() + timeout_s

    async def insist(customer: Customer) -> None:
        while await customer.ask_for_order() != 202:
            assert time.monotonic() < ends, [answer.status for answer in customer.answers]
            await asyncio.sleep(0.1)

    await asyncio.gather(*map(insist, customers))


async def steadily(customers: Sequence[Customer], per_second: float) -> float:
    """Let the customers send one request each, at this rate; returns the p95 of the durations."""
    began = time.monotonic()

    async def in_turn(number: int, customer: Customer) -> float:
        await asyncio.sleep(max(0, began + number / per_second - time.monotonic()))
        await customer.ask_for_order()
        return customer.answers[-1].took_s

    took_s = await asyncio.gather(*(in_turn(*each) for each in enumerate(customers)))
    return round(sorted(took_s)[len(took_s) * 95 // 100], 3)


async def ask_all(
    ask: Callable[[Customer], Awaitable[T]], customers: Iterable[Customer]
) -> list[T]:
    """Let all customers send their request at the same moment."""
    return list(await asyncio.gather(*map(ask, customers)))
