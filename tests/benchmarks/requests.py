"""Single requests to the web process, compared with a bare aiohttp handler of the same body."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks import report
from tests.benchmarks.cpu import Meter, session_of
from tests.benchmarks.request_loop import Answers, RequestPlan
from tests.benchmarks.site import Site
from tests.e2e.programs import ROOT, Web
from tests.servers.process import Server, free_port

SECONDS = 5


@dataclass(frozen=True, slots=True)
class Run:
    """The results of repeating one request for some seconds."""

    per_second: float
    ranks_ms: Sequence[float]
    #: CPU microseconds per request.
    cpu_us: Mapping[str, float]


class Bare(Server):
    """The bare handler."""

    name = "bare"

    def __init__(self, body: str) -> None:
        super().__init__()
        self.port = free_port()
        (self.folder / "body").write_text(body)

    def wipe(self) -> None:
        """It stores nothing."""

    def _spawn(self) -> "subprocess.Popen[bytes]":
        return self._popen(
            [sys.executable, "-m", "tests.benchmarks.bare", str(self.port), self.folder / "body"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def _answers(self) -> bool:
        try:
            ask(RequestPlan(self.port, "GET", "/", [None], seconds=0.1, customers=1))
        except subprocess.CalledProcessError:
            return False
        return True


def web(site: Site, rounds: int) -> None:
    """A list of books and one book, as JSON and as pages, and adding to the cart, by 32 concurrent
    guests."""
    site.clear()
    books = [book_id for (book_id,) in site.ask("SELECT id FROM books ORDER BY id LIMIT 3")]
    kinds: dict[str, tuple[str, str, Sequence[Any]]] = {
        "list of books": ("GET", "/api/v1/books", [None]),
        "one book": ("GET", f"/api/v1/books/{books[0]}", [None]),
        "page with a list": ("GET", "/books", [None]),
        "page of a book": ("GET", f"/books/{books[0]}", [None]),
        "add to cart": (
            "POST",
            "/api/v1/cart/items",
            [{"book_id": book_id, "quantity": 1} for book_id in books],
        ),
    }
    print(f"\nweb: {SECONDS} s each, 32 connections")
    with Web(site.settings) as ours:
        for name, (method, path, contents) in kinds.items():
            sample = ask(RequestPlan(ours.port, method, path, contents, seconds=1, customers=4))
            with Bare(sample.body) as bare:
                runs: dict[str, list[Run]] = {"ours": [], "bare": []}
                for _ in range(rounds):
                    for side, server in (("ours", ours), ("bare", bare)):
                        plan = RequestPlan(server.port, method, path, contents, SECONDS)
                        runs[side].append(_run(site, server, plan))
            _print(name, runs, len(sample.body))


def _run(site: Site, server: Server, plan: RequestPlan) -> Run:
    with Meter({"database": site.sessions["database"], "web": session_of(server)}) as meter:
        answers = ask(plan)
    if answers.failures:
        raise SystemExit(f"{answers.failures} failures: {answers.body}")
    number = len(answers.waits)
    used = meter.used_s(answers.began, answers.ended)
    return Run(
        number / (answers.ended - answers.began),
        [rank * 1000 for rank in statistics.quantiles(answers.waits, n=100)],
        {program: spent / number * 1e6 for program, spent in used.items()},
    )


def _print(name: str, runs: Mapping[str, Sequence[Run]], length: int) -> None:
    limit = [run.per_second for run in runs["bare"]]
    for side, found in runs.items():
        rates = [run.per_second for run in found]
        p50, p99 = (statistics.median(run.ranks_ms[rank] for run in found) for rank in (49, 98))
        cpu = {
            program: statistics.median(run.cpu_us[program] for run in found)
            for program in ("web", "database")
        }
        print(
            f"{f'{name}, {side}':24}{report.middle(rates):>24}/s"
            f"{report.ratio(rates, limit):>20} of limit  p50 {p50:.1f} ms, p99 {p99:.1f};"
            f" CPU us: web {cpu['web']:,.0f}, database {cpu['database']:,.0f}; {length:,} bytes",
            flush=True,
        )


def ask(plan: RequestPlan) -> Answers:
    """Send the requests from a separate process; returns the results."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.request_loop", json.dumps(asdict(plan))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return Answers(**json.loads(found.stdout))
