"""Scaling over processes: orders with 1, 2 and 4 workers, requests with 1 and 2 web processes.

The limits of the machine are shown, too: the stored procedure on eight connections, and the same
number of processes of a bare aiohttp handler. The database, the broker and the clients use the same
processors, so on a small machine an additional process takes CPU time from the others.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack

from tests.benchmarks import drain, report
from tests.benchmarks.drain import Drain
from tests.benchmarks.request_loop import RequestPlan
from tests.benchmarks.requests import Bare, Run, _run, ask
from tests.benchmarks.site import BOOKS, Site
from tests.e2e.programs import ROOT, Web, Workers

ORDERS, LINES = 8_000, 3
WORKERS = (1, 2, 4)
WEBS = (1, 2)
SECONDS = 5


class OrderWorkers(Workers):
    """The given number of processes for orders only."""

    def __init__(self, settings: Mapping[str, str], processes: int) -> None:
        self.command = (
            *("-m", "dramatiq", "actors", "-p", str(processes), "-t", "8", "-Q", "orders"),
        )
        super().__init__(settings)


class Webs(Web):
    """The given number of web processes on one port."""

    def __init__(self, settings: Mapping[str, str], processes: int) -> None:
        super().__init__(settings)
        self.command = (*Web.command, "--processes", str(processes))


class Bares(Bare):
    """The given number of processes of the bare handler on one port."""

    def __init__(self, body: str, processes: int) -> None:
        super().__init__(body)
        self._processes = processes

    def _spawn(self) -> "subprocess.Popen[bytes]":
        # The others end with the first: they have the same session and parent.
        command = [sys.executable, "-m", "tests.benchmarks.bare"]
        return self._popen(
            [*command, str(self.port), self.folder / "body", str(self._processes)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )


def workers(site: Site, rounds: int) -> None:
    """Orders per second of 1, 2 and 4 worker processes with 8 threads each."""
    title = f"workers: {ORDERS:,} orders of {LINES} lines, {os.cpu_count()} processors"
    runs: dict[str, list[Drain]] = {}
    for _ in range(rounds):
        drains = {"procedure": drain.by_procedure(site, ORDERS, LINES, books=BOOKS)}
        for number in WORKERS:
            site.clear()
            cart_ids = site.fill_carts(ORDERS, LINES)
            asyncio.run(site.place(cart_ids))
            program = OrderWorkers(site.settings, number)
            drains[_processes(number)] = drain.by_workers(site, program, "workers")
        for name, found in drains.items():
            runs.setdefault(name, []).append(found)
            report.progress(title, name, found.per_second)
    # The name of the program differs in each run.
    report.drains(title, runs, "procedure")


def webs(site: Site, rounds: int) -> None:
    """Cached lists of books and cart changes per second of 1 and 2 web processes."""
    site.clear()
    print(f"\nwebs: {SECONDS} s each, 32 connections, {os.cpu_count()} processors")
    book_id = site.ask("SELECT MIN(id) FROM books")[0][0]
    asked = {
        "list of books": ("GET", "/api/v1/books", [None]),
        "add to cart": ("POST", "/api/v1/cart/items", [{"book_id": book_id, "quantity": 1}]),
    }
    for name, (method, path, contents) in asked.items():
        runs: dict[str, list[Run]] = {}
        for _ in range(rounds):
            for number in WEBS:
                with ExitStack() as stack:
                    ours = stack.enter_context(Webs(site.settings, number))
                    sample = ask(RequestPlan(ours.port, method, path, contents, 0.5, customers=4))
                    bare = stack.enter_context(Bares(sample.body, number))
                    for side, server in (("ours", ours), ("bare", bare)):
                        plan = RequestPlan(server.port, method, path, contents, SECONDS)
                        found = _run(site, server, plan)
                        runs.setdefault(f"{side}, {_processes(number)}", []).append(found)
        for title, found in runs.items():
            rates = [run.per_second for run in found]
            limit = [run.per_second for run in runs[title.replace("ours", "bare")]]
            print(
                f"{f'{name}, {title}':40}{report.middle(rates):>24}/s"
                f"{report.ratio(rates, limit):>20} of limit",
                flush=True,
            )


def _processes(number: int) -> str:
    return f"{number} process{'es' if number > 1 else ''}"
