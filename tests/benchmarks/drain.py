"""Processing a backlog: the steady rate, and the CPU time of an order."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks import procedure, single_row
from tests.benchmarks.cpu import Meter, session_of
from tests.benchmarks.site import DATABASE, LOOK_S, Site
from tests.e2e.programs import ROOT, Program, Workers
from tests.servers.process import wait_until

#: The measured part of the backlog. Before it, programs start and caches fill; after it, some
#: workers are idle.
BEGIN, END = 0.1, 0.95
LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class Drain:
    """The measurement of one processed backlog."""

    per_second: float
    #: CPU microseconds per order of each program.
    cpu_us: Mapping[str, float]
    #: Orders per message, as published.
    list_length: float = 1.0
    #: Orders per transaction.
    group_length: float = 1.0


class OrderWorkers(Workers):
    """Workers that process orders and no e-mails."""

    def __init__(self, settings: Mapping[str, str], threads: int) -> None:
        super().__init__(settings)
        self.command = (*Workers.command[:-1], str(threads), "-Q", "orders")


class PlainWorkers(Workers):
    """The plain actor."""

    command = ("-m", "dramatiq", "tests.benchmarks.plain", *Workers.command[3:], "-Q", "plain")


def ours(
    site: Site, orders: int, lines: int, *, books: int, singly: bool = False, threads: int = 8
) -> Drain:
    """Our actors."""
    site.clear()
    cart_ids = site.fill_carts(orders, lines, books=books)
    asyncio.run(site.place(cart_ids, singly=singly))
    list_length = orders / site.messages("orders")
    drain = by_workers(site, OrderWorkers(site.settings, threads), "worker")
    ((transactions,),) = site.ask(
        "SELECT COUNT(DISTINCT worker, at) FROM order_events WHERE worker IS NOT NULL"
    )
    return Drain(drain.per_second, drain.cpu_us, list_length, orders / transactions)


def plainly(site: Site, orders: int, lines: int, *, books: int) -> Drain:
    """The plain actor."""
    site.clear()
    asyncio.run(site.place(site.fill_carts(orders, lines, books=books), announced=False))
    # A separate process: dramatiq does not declare its queues again in a new virtual host.
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.plain"],
        env={**os.environ, **site.settings},
        cwd=ROOT,
        check=True,
    )
    return by_workers(site, PlainWorkers(site.settings), "worker")


def by_procedure(
    site: Site, orders: int, lines: int, *, books: int, stock_first: bool = False
) -> Drain:
    """The stored procedure."""

    def start(order_ids: Sequence[int], folder: Path) -> "subprocess.Popen[str]":
        return procedure.start(
            site.mariadb.port, DATABASE, order_ids, folder, stock_first=stock_first
        )

    return _by_client(site, orders, lines, books, start)


def by_single_rows(site: Site, orders: int, lines: int, *, books: int) -> Drain:
    """The single-row client."""

    def start(order_ids: Sequence[int], folder: Path) -> "subprocess.Popen[str]":
        return single_row.start(site.mariadb.port, DATABASE, order_ids, folder)

    return _by_client(site, orders, lines, books, start)


def by_workers(site: Site, workers: Program, name: str) -> Drain:
    """Process the backlog with these programs, and stop them at the end."""
    with site.watch() as nothing_waits:
        workers.start()
        try:
            return _measured(site, {name: session_of(workers)}, nothing_waits)
        finally:
            workers.stop()
            workers.close()


def _by_client(
    site: Site,
    orders: int,
    lines: int,
    books: int,
    start: Callable[[Sequence[int], Path], "subprocess.Popen[str]"],
) -> Drain:
    """Process the backlog with a program that gets the ids of the orders and needs no queue."""
    site.clear()
    asyncio.run(site.place(site.fill_carts(orders, lines, books=books), announced=False))
    order_ids = [order_id for (order_id,) in site.ask("SELECT id FROM orders ORDER BY id")]
    with TemporaryDirectory() as folder:
        client = start(order_ids, Path(folder))

        def ended() -> bool:
            time.sleep(LOOK_S)
            return client.poll() is not None

        drain = _measured(site, {"client": client.pid}, ended)
    if client.wait():
        assert client.stderr is not None
        raise SystemExit(client.stderr.read())
    return drain


def _measured(site: Site, sessions: Mapping[str, int], ended: Callable[[], bool]) -> Drain:
    with Meter({**site.sessions, **sessions}) as meter:
        wait_until(ended, LONGEST_S)
    asyncio.run(site.examine())
    moments = [
        float(at)
        for (at,) in site.ask(
            "SELECT UNIX_TIMESTAMP(at) FROM order_events WHERE worker IS NOT NULL ORDER BY at"
        )
    ]
    begin, end = (moments[int(len(moments) * share)] for share in (BEGIN, END))
    counted = sum(begin < moment <= end for moment in moments)
    return Drain(
        counted / (end - begin),
        {name: used / counted * 1e6 for name, used in meter.used_s(begin, end).items()},
    )
