"""The environment of the benchmarks: private servers, a catalogue, a backlog of orders."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any, Self

import pika
import pymysql
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database import engine as db
from bookstore.idempotency import Key
from bookstore.operations import doctor
from bookstore.orders.checkout import CheckoutRequest, Checkouts
from bookstore.pricing import Rates
from bookstore.tasks.outbox import Task, TaskRef
from bookstore.tasks.publisher import RabbitPublisher
from tests.benchmarks import procedure
from tests.benchmarks.clients import session_id
from tests.benchmarks.cpu import session_of
from tests.servers.mariadb import MariaDBServer
from tests.servers.process import wait_until
from tests.servers.rabbitmq import RabbitMQServer

DATABASE, VHOST = "benchmark", "benchmark"
BOOKS = 10_000
#: More stock than all orders of a run need.
COPIES = 1_000_000
RATES = Rates("EUR", 290, 4000, 700)
ADDRESS = {
    "name": "Mira",
    "line1": "Quay 9",
    "city": "Hamburg",
    "postcode": "20457",
    "country": "DE",
}
#: Concurrent checkouts while a backlog is created, and the number of groups that they form.
AT_ONCE, COUNTERS = 240, 4
#: The polling interval in seconds; a poll costs the database a little.
LOOK_S = 0.2
#: The tables of orders; the catalogue stays.
FLEETING = (
    "tasks",
    "task_failures",
    "notifications",
    "idempotency_keys",
    "stock_movements",
    "order_events",
    "order_lines",
    "orders",
    "cart_items",
    "carts",
    "sessions",
    "book_stock",
)


class Site:
    """A private MariaDB and RabbitMQ, with a catalogue of `BOOKS` books."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._numbers = count(1)

    def __enter__(self) -> Self:
        self.mariadb = MariaDBServer()
        self.rabbitmq = RabbitMQServer()
        for server in (self.rabbitmq, self.mariadb):
            self._open.enter_context(closing(server))
            server.start()
        self.mariadb.wait()
        self.database_url = self.mariadb.client.create_database(DATABASE)
        asyncio.run(self._migrate())
        self._restore_stock()
        procedure.create(self.connect())
        self.rabbitmq.wait()
        self.broker_url = self.rabbitmq.client.create_vhost(VHOST, overheard=False)
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables of the programs."""
        return {
            "BOOKSTORE_DATABASE_URL": self.database_url,
            "BOOKSTORE_BROKER_URL": self.broker_url,
            "BOOKSTORE_RATE_LIMITS": "off",
        }

    @property
    def sessions(self) -> dict[str, int]:
        """The servers, for a `Meter`."""
        return {"database": session_of(self.mariadb), "broker": session_of(self.rabbitmq)}

    def connect(self) -> "pymysql.Connection[Any]":
        return self.mariadb.client.connect(DATABASE)

    def ask(self, query: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        """The rows of a query."""
        with closing(self.connect()) as conn, conn.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute(query, parameters)
            return tuple(cursor.fetchall())

    def clear(self) -> None:
        """Remove all orders and messages, and restore the stock."""
        with closing(self.connect()) as conn, conn.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            for table in FLEETING:
                cursor.execute(f"TRUNCATE TABLE {table}")
            cursor.execute("SET foreign_key_checks = 1")
            cursor.execute(
                f"INSERT INTO book_stock (book_id, stock) SELECT id, {COPIES} FROM books"
            )
            cursor.execute(
                "INSERT INTO stock_movements (book_id, delta, reason, created_at)"
                " SELECT book_id, stock, 'received', UTC_TIMESTAMP(6) FROM book_stock"
            )
        self.broker_url = self.rabbitmq.client.create_vhost(VHOST, overheard=False)

    def fill_carts(self, number: int, lines: int, *, books: int = BOOKS) -> list[int]:
        """Create carts of guests with random books; returns the ids of the carts."""
        dice = random.Random(number)
        book_ids = [book_id for (book_id,) in self.ask("SELECT id FROM books ORDER BY id")][:books]
        with closing(self.connect()) as conn, conn.cursor() as cursor:
            cursor.execute("SET unique_checks = 0, foreign_key_checks = 0")
            cursor.executemany(
                "INSERT INTO carts (id, checkout_no, created_at, updated_at)"
                " VALUES (%s, 0, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
                [(cart_id,) for cart_id in range(1, number + 1)],
            )
            cursor.executemany(
                "INSERT INTO cart_items (cart_id, book_id, quantity, unit_price_cents, added_at)"
                " VALUES (%s, %s, %s, 1290, UTC_TIMESTAMP(6))",
                [
                    (cart_id, book_id, dice.randint(1, 2))
                    for cart_id in range(1, number + 1)
                    for book_id in sorted(dice.sample(book_ids, lines))
                ],
            )
        return list(range(1, number + 1))

    def open_sessions(self, cart_ids: Sequence[int]) -> None:
        """Create a guest session for each cart."""
        with closing(self.connect()) as conn, conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO sessions (id_hash, data, created_at, last_seen_at, expires_at)"
                " VALUES (UNHEX(SHA2(%s, 256)), %s, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6),"
                " UTC_TIMESTAMP(6) + INTERVAL 1 DAY)",
                [(session_id(cart_id), json.dumps({"cart_id": cart_id})) for cart_id in cart_ids],
            )

    async def place(
        self, cart_ids: Sequence[int], *, announced: bool = True, singly: bool = False
    ) -> None:
        """Check out the carts without workers; publish the orders if `announced`.

        `singly` publishes one message per order.
        """
        waiting = list(cart_ids)
        async with self._publisher() as publisher, self.engine() as made:
            offered = announced and not singly
            engine = db.announcing(made, publisher.publish) if offered else made

            async def customer(checkouts: Checkouts) -> None:
                while waiting:
                    await checkouts.place(self._request(waiting.pop()))

            counters = [Checkouts(engine, RATES) for _ in range(COUNTERS)]
            await asyncio.gather(*(customer(counters[it % COUNTERS]) for it in range(AT_ONCE)))
            if singly:
                for (order_id,) in self.ask("SELECT id FROM orders ORDER BY id"):
                    publisher.publish([TaskRef(Task.PROCESS_ORDERS, order_id)])
                    await publisher._publish_buffer()

    @contextmanager
    def watch(self) -> Iterator[Callable[[], bool]]:
        """A condition for `wait_until`: whether no order is in the state placed."""
        with closing(self.connect()) as conn, conn.cursor() as cursor:

            def nothing_waits() -> bool:
                time.sleep(LOOK_S)
                return not cursor.execute("SELECT 1 FROM orders WHERE status = 'placed' LIMIT 1")

            yield nothing_waits

    def messages(self, queue: str) -> int:
        """The number of messages in a queue."""
        with closing(pika.BlockingConnection(pika.URLParameters(self.broker_url))) as connection:
            found = connection.channel().queue_declare(queue, passive=True)
            return int(found.method.message_count)

    async def examine(self) -> None:
        """Exit with an error if an order was lost, doubled or miscounted."""
        async with self.engine() as engine, db.reading(engine) as conn:
            now = datetime.now(UTC)
            found = [finding async for finding in doctor.examine(conn, now=now)]
        if found:
            raise SystemExit("\n".join(f"{it.invariant}: {it.row}" for it in found))

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[AsyncEngine]:
        engine = db.make_engine(self.database_url, timeout_s=600)
        yield engine
        await engine.dispose()

    @asynccontextmanager
    async def _publisher(self) -> AsyncIterator[RabbitPublisher]:
        async with RabbitPublisher(
            [self.broker_url], queue_type="classic", name="benchmark"
        ) as publisher:
            await asyncio.to_thread(wait_until, lambda: publisher.ready)
            yield publisher

    def _request(self, cart_id: int) -> CheckoutRequest:
        return CheckoutRequest(
            key=Key(f"cart:{cart_id}", f"key-{next(self._numbers)}"),
            request_hash="0" * 64,
            cart_id=cart_id,
            user_id=None,
            email=f"reader-{cart_id}@example.com",
            shipping_address=ADDRESS,
        )

    async def _migrate(self) -> None:
        async with self.engine() as engine:
            await db.upgrade(engine)

    def _restore_stock(self) -> None:
        with closing(self.connect()) as conn, conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO books (isbn13, title, sort_title, price_cents, version, created_at,"
                " updated_at) VALUES (%s, %s, %s, 1290, 1, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
                [
                    (f"9798{number:09}", f"A Book of Some Length, {number}", f"book {number}")
                    for number in range(BOOKS)
                ],
            )
            cursor.execute(
                "INSERT INTO authors (id, name, name_key, identity_key) VALUES (1, 'A', 'a', 'a')"
            )
            cursor.execute(
                "INSERT INTO book_authors (book_id, position, author_id, role)"
                " SELECT id, 0, 1, 'author' FROM books"
            )
