"""A store with a million books and a million orders: each page against its limit.

`python -m tests.benchmarks.scale [--books N] [--orders N] [--keep FOLDER]` fills a private
MariaDB, once with a hundredth and once with all of the data. It requests one page of `bookstore
web` after the other, with different books and words each time and as a signed-in customer, so that
no response comes from a cache. Times are measured by a client on the same machine, from the
request to the end of the response. If the machine is shared, put `chrt -r 1` in front. With
`--keep`, the next run reuses the data in the folder.
"""

import asyncio
import http.client
import os
import random
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bookstore.database import engine as db
from bookstore.database.engine import transaction
from bookstore.database.pagination import encode
from bookstore.users import passwords
from bookstore.users.permissions import Role
from tests.benchmarks import big
from tests.e2e.programs import ROOT, Web
from tests.factories import add_user
from tests.servers.mariadb import MariaDB, MariaDBServer

DATABASE = "scale"
#: The settings that the operator's guide recommends for a catalogue of this size.
BUFFER_POOL = "1G"
OPTIONS = (f"--innodb-buffer-pool-size={BUFFER_POOL}", "--innodb-log-file-size=1G")
#: Requests of each kind, or fewer if the time is over.
REQUESTS, SECONDS, WARM = 200, 20.0, 5
PAGE = 20
DEEP_PAGE = 40_000
#: Limits in milliseconds (p99).
LIST_MS, COMMON_MS, RARE_MS, ADMIN_MS = 50.0, 500.0, 50.0, 1000.0
GROWTH, DEPTH = 2.0, 1.5
#: The kinds of request whose growth is limited, and the limit.
GROWING = ("list, ", "book", "page of a book", "page with a list")
DOCTOR_S, DOCTOR_MB = 60.0, 200.0
CUSTOMER = {"email": "reader@example.com", "password": "eleven blue lanterns"}
STAFF = {"email": "staff@example.com", "password": "eleven blue lanterns"}

Paths = Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request, and the limit of its p99."""

    name: str
    limit_ms: float
    path: Paths
    staff: bool = False


class Browser:
    """A client with one connection and one cookie."""

    def __init__(self, port: int, who: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._cookie = ""
        self._connection.request(
            "POST",
            "/api/v1/session",
            f'{{"email": "{who["email"]}", "password": "{who["password"]}"}}',
            {"Content-Type": "application/json"},
        )
        answer = self._connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        self._cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]

    def rest(self) -> None:
        """Close the connection before the server does; the next request opens a new one."""
        self._connection.close()

    def ask(self, path: str) -> tuple[float, bool]:
        """The response time in milliseconds, and whether the response was successful. It is a 503
        if the database needs longer than the two seconds that the store allows."""
        started = time.perf_counter()
        self._connection.request("GET", path, headers={"Cookie": self._cookie})
        answer = self._connection.getresponse()
        answer.read()
        assert answer.status in (200, 503), (path, answer.status)
        return (time.perf_counter() - started) * 1000, answer.status == 200


def kinds(client: MariaDB, books: int, deep: int) -> Iterator[Kind]:
    """The kinds of requests; `deep` is the late page that is compared with the first."""
    word = big.words()
    rows = _Rows(client)

    def search(rank: int, spread: int) -> Paths:
        return lambda dice: f"/api/v1/books?q={word[rank + dice.randrange(spread)]}&limit={PAGE}"

    def category(dice: random.Random) -> str:
        return f"/api/v1/books?category=category-{dice.randrange(big.CATEGORIES)}&sort=price"

    for sort in ("-created_at", "title", "price", "-price", "-year"):
        yield Kind(f"list, {sort}", LIST_MS, lambda _, sort=sort: f"/api/v1/books?sort={sort}")
        yield Kind(
            f"list, {sort}, page {deep:,}",
            LIST_MS,
            lambda dice, sort=sort: (
                f"/api/v1/books?sort={sort}&cursor={rows.cursor(sort, deep * PAGE)}"
            ),
        )
    yield Kind("filter by price", LIST_MS, lambda d: f"/api/v1/books?{_price(d)}")
    yield Kind("filter by category, price", LIST_MS, category)
    for query in (
        "language=de&sort=title",
        "language=cy&sort=price",
        "in_stock=false&sort=-year",
    ):
        yield Kind(f"filter {query}", LIST_MS, lambda _, query=query: f"/api/v1/books?{query}")
    yield Kind(
        "filter by author", LIST_MS, lambda d: f"/api/v1/books?author={1 + d.randrange(9999)}"
    )
    yield Kind("book", LIST_MS, lambda d: f"/api/v1/books/{1 + d.randrange(books)}")
    yield Kind("page of a book", LIST_MS, lambda d: f"/books/{1 + d.randrange(books)}")
    yield Kind("page with a list", LIST_MS, lambda _: "/books")
    yield Kind("page of a rare form", LIST_MS, lambda _: "/books?format=map&language=cy")
    yield Kind(
        "page of a category",
        LIST_MS,
        lambda d: f"/books?category=category-{d.randrange(big.CATEGORIES)}",
    )
    yield Kind("search, a common word", COMMON_MS, search(big.COMMON, 3))
    yield Kind("search, a rare word", RARE_MS, search(big.RARE, 900))
    yield Kind(
        "search, two words",
        COMMON_MS,
        lambda d: f"/api/v1/books?q={word[d.randrange(3)]}+{word[d.randrange(100)]}",
    )
    yield Kind("search, page of the store", COMMON_MS, lambda d: f"/books?q={word[d.randrange(3)]}")
    yield Kind("suggestions", COMMON_MS, lambda d: f"/suggestions?q={word[d.randrange(50)][:4]}")
    number, email = rows.one("SELECT number, email FROM orders ORDER BY id DESC LIMIT 1")
    for path in (
        "",
        "?days=30",
        "/orders",
        "/orders?status=confirmed",
        "/orders?sort=-total",
        "/orders?payment=paid&since=2026-01-01",
        f"/orders?q={email}",
        f"/orders?q={number[:4]}",
        f"/orders/{number}",
        "/books",
        "/books?view=low",
        "/books?view=sold-out",
        f"/books?q={word[big.RARE]}&sort=-price",
        f"/books?q={word[big.COMMON]}",
        "/books/7",
        "/books/7/stock",
        "/categories",
        "/authors",
        "/users",
        "/users?q=mira&sort=name",
        "/users/7",
        "/notifications",
        "/notifications?status=failed",
        f"/notifications?q={email}",
        "/queues",
        "/imports",
        "/audit",
    ):
        yield Kind(f"/admin{path}", ADMIN_MS, lambda _, path=path: f"/admin{path}", staff=True)


#: The sort order of each list.
_COLUMNS = {
    "title": "sort_title, id",
    "price": "price_cents, id",
    "-price": "price_cents DESC, id DESC",
    "-year": "year DESC, id DESC",
    "-created_at": "id DESC",
}


class _Rows:
    """Query results, cached by query."""

    def __init__(self, client: MariaDB) -> None:
        self._client = client
        self._cursors: dict[tuple[str, int], str] = {}

    def one(self, query: str) -> tuple[Any, ...]:
        with closing(self._client.connect(DATABASE)) as conn, conn.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone() or ()

    def cursor(self, sort: str, place: int) -> str:
        """The cursor after this number of rows of a list."""
        if (sort, place) not in self._cursors:
            order = _COLUMNS[sort]
            value = order.partition(" ")[0].rstrip(",")
            found = self.one(
                f"SELECT {value}, id FROM books WHERE withdrawn_at IS NULL"
                f" ORDER BY {order} LIMIT 1 OFFSET {place - 1}"
            )
            self._cursors[sort, place] = encode(*found)
        return self._cursors[sort, place]


def _price(dice: random.Random) -> str:
    return f"min_price_cents={dice.randrange(399, 9000)}&sort=price"


def measure(port: int, asked: Sequence[Kind]) -> tuple[dict[str, float], bool]:
    """Print p50 and p99 of each kind; returns p50 by kind, and whether all are within limits."""
    customer, staff = Browser(port, CUSTOMER), Browser(port, STAFF)
    found, well = {}, True
    for kind in asked:
        browser = staff if kind.staff else customer
        browser.rest()
        dice = random.Random(kind.name)
        for _ in range(WARM):
            browser.ask(kind.path(dice))
        waits: list[float] = []
        refused = 0
        ends = time.monotonic() + SECONDS
        while len(waits) < REQUESTS and (time.monotonic() < ends or len(waits) < WARM):
            wait_ms, answered = browser.ask(kind.path(dice))
            waits.append(wait_ms)
            refused += not answered
        p50 = statistics.median(waits)
        p99 = sorted(waits)[int(len(waits) * 0.99)]
        over = p99 > kind.limit_ms
        well &= not over and not refused
        print(
            f"  {kind.name:52} p50 {p50:8.1f} ms, p99 {p99:8.1f} of {kind.limit_ms:,.0f}"
            f" ({len(waits)}){'   OVER' if over else ''}"
            f"{f', {refused} refused' if refused else ''}",
            flush=True,
        )
        found[kind.name] = p50
    return found, well


def examine(settings: Mapping[str, str]) -> bool:
    """Print the time and memory of `bookstore doctor`; returns whether both are within limits."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "bookstore.cli", "doctor"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
    )
    _, status, used = os.wait4(process.pid, 0)
    took_s, mb = time.monotonic() - began, used.ru_maxrss / 1024
    well = status == 0 and took_s < DOCTOR_S and mb < DOCTOR_MB
    print(f"  doctor: {took_s:.1f} s, {mb:.0f} MB{'' if well else '   OVER'}", flush=True)
    return well


async def _prepare(url: str) -> None:
    engine = db.make_engine(url, timeout_s=600)
    await db.upgrade(engine)
    await engine.dispose()


async def _open_accounts(url: str) -> None:
    engine = db.make_engine(url, timeout_s=600)
    for who, role in ((CUSTOMER, Role.CUSTOMER), (STAFF, Role.ADMIN)):
        kept = await passwords.hash(who["password"])
        async with transaction(engine) as conn:
            await add_user(conn, email=who["email"], role=role, password_hash=kept)
    await engine.dispose()


def one_size(books: int, orders: int, folder: Path | None) -> tuple[dict[str, float], bool]:
    """Measure a store of this size; returns p50 by kind, and whether all are within limits."""
    data = folder / f"{books}-{orders}" if folder else None
    there = data is not None and data.exists()
    deep = min(DEEP_PAGE, books // PAGE - 2)
    with MariaDBServer(data, OPTIONS) as server:
        if not there:
            began = time.monotonic()
            url = server.client.create_database(DATABASE)
            asyncio.run(_prepare(url))
            with closing(server.client.connect()) as conn, conn.cursor() as cursor:
                cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
            big.fill(server.port, DATABASE, books=books, orders=orders)
            asyncio.run(_open_accounts(url))
            with closing(server.client.connect()) as conn, conn.cursor() as cursor:
                cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
            print(f"filled in {time.monotonic() - began:.0f} s")
        else:  # The data may come from an older version with fewer migrations.
            asyncio.run(_prepare(server.client.url(DATABASE)))
        print(f"\n{books:,} books, {orders:,} orders, a buffer pool of {BUFFER_POOL}", flush=True)
        settings = {
            "BOOKSTORE_DATABASE_URL": server.client.url(DATABASE),
            "BOOKSTORE_BROKER_URL": "amqp://127.0.0.1:1",
            "BOOKSTORE_DATABASE_TIMEOUT_S": f"{db.TIMEOUT_S}",
            "BOOKSTORE_RATE_LIMITS": "off",
            "BOOKSTORE_SECRET_KEY": "no secret outside of this benchmark",
        }
        with Web(settings) as web:
            found, well = measure(web.port, list(kinds(server.client, books, deep)))
        well &= examine(settings)
        server.stop()
    return found, well


def compare(small: Mapping[str, float], large: Mapping[str, float], deep: int) -> bool:
    """Print the effect of size and of late pages; returns whether both are within limits."""
    well = True
    for name, p50 in large.items():
        if name in small:
            growth = p50 / small[name]
            limited = name.startswith(GROWING)
            over = limited and growth > GROWTH
            well &= not over
            print(
                f"  {name:52} {growth:6.2f} x the time of a hundredth of the books"
                f"{f', of {GROWTH:.0f}' if limited else ''}{'   OVER' if over else ''}"
            )
        if f"{name}, page {deep:,}" in large:
            depth = large[f"{name}, page {deep:,}"] / p50
            well &= depth <= DEPTH
            print(
                f"  {name:52} {depth:6.2f} x at page {deep:,}, of {DEPTH}"
                f"{'   OVER' if depth > DEPTH else ''}"
            )
    return well


def main(wanted: Namespace) -> int:
    """Measure both sizes; returns 1 if a limit was exceeded."""
    small, _ = one_size(wanted.books // 100, wanted.orders // 100, wanted.keep)
    large, well = one_size(wanted.books, wanted.orders, wanted.keep)
    print()
    well &= compare(small, large, min(DEEP_PAGE, wanted.books // PAGE - 2))
    return 0 if well else 1


def arguments() -> ArgumentParser:
    parser = ArgumentParser(description="A million books and a million orders.")
    parser.add_argument("--books", type=int, default=1_000_000)
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="a folder in which the data stay")
    return parser


if __name__ == "__main__":
    sys.exit(main(arguments().parse_args()))
