"""A long queue is only a delay: memory and speed stay constant, and e-mails delay no order."""

import asyncio
import os
import threading
import time
from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks.cpu import Meter, session_of
from tests.benchmarks.drain import OrderWorkers, by_workers
from tests.benchmarks.site import Site
from tests.e2e.programs import Workers
from tests.faults.figures import FULL, figure
from tests.faults.proxy import Proxy
from tests.servers.process import wait_until
from tests.servers.smtp import SmtpSink

ORDERS = figure(2_000, 100_000)
#: At each end, to compare.
PART = ORDERS // 10
LINES = 2
GROWTH = 50 * 2**20
ROUNDS = 3
ORDERS_BESIDE_MAIL = 4_000
PAGE = os.sysconf("SC_PAGE_SIZE")
DONE_AT = """
    SELECT UNIX_TIMESTAMP(at) FROM order_events WHERE worker IS NOT NULL
    ORDER BY at LIMIT 1 OFFSET %s
"""


@pytest.fixture(scope="module")
def site():
    with Site() as site:
        yield site


class Memory:
    """Samples the resident memory of the processes of a session."""

    def __init__(self, session):
        self.seen = []
        self._session = session
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.1):
            self.seen.append((time.time(), resident(self._session)))

    def peak(self, begin, end):
        return max(size for at, size in self.seen if begin <= at <= end)


def resident(session):
    pages = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == session:
                pages += int((entry / "statm").read_text().split()[1])
        except OSError:  # The process has just ended.
            continue
    return pages * PAGE


class OneWorker(OrderWorkers):
    """One process, so that its memory is one number; e-mails are not sent."""

    def __init__(self, settings):
        super().__init__(settings, 8)
        self.command = ("-m", "dramatiq", "actors", "-p", "1", "-t", "8", "-Q", "orders")


@pytest.mark.timeout(figure(120, 1800))
def test_memory_and_speed_stay_constant_over_a_long_queue(site, record_property):
    site.clear()
    asyncio.run(site.place(site.fill_carts(ORDERS, LINES)))
    workers = OneWorker(site.settings)
    with site.watch() as nothing_waits:
        workers.start()
        session = session_of(workers)
        with Meter({"worker": session}) as meter, Memory(session) as memory:
            wait_until(nothing_waits, 1500)
        workers.stop()
        workers.close()
    asyncio.run(site.examine())

    began, early, late, ended = (
        float(site.ask(DONE_AT, place)[0][0]) for place in (0, PART, ORDERS - PART, ORDERS - 1)
    )
    first = meter.used_s(began, early)["worker"] / PART * 1e6
    last = meter.used_s(late, ended)["worker"] / PART * 1e6
    growth = memory.peak(early, ended + 1) - memory.peak(began, early + 0.2)
    record_property("orders", ORDERS)
    record_property("growth in MB", round(growth / 2**20, 1))
    record_property("CPU µs an order, first tenth", round(first))
    record_property("last tenth", round(last))
    record_property("orders a second", round((ORDERS - 1) / (ended - began)))
    assert growth < GROWTH
    if FULL:  # A short queue is finished before the clock of the kernel has advanced.
        assert abs(last / first - 1) < 0.2


@pytest.mark.skipif(not FULL, reason="a comparison of speeds, which a busy machine would spoil")
@pytest.mark.timeout(1800)
def test_orders_are_as_fast_while_the_mail_server_is_slow_or_down(site, record_property):
    drains = {"well": [], "slow": [], "gone": []}
    for _ in range(ROUNDS):
        for mail, runs in drains.items():
            site.clear()
            asyncio.run(site.place(site.fill_carts(ORDERS_BESIDE_MAIL, LINES)))
            with SmtpSink() as sink, Proxy(sink.port) as link:
                link.delay_s = 30 if mail == "slow" else 0
                if mail == "gone":
                    link.refuse()
                url = f"smtp://127.0.0.1:{link.port}"
                workers = Workers({**site.settings, "BOOKSTORE_SMTP_URL": url})
                runs.append(by_workers(site, workers, "worker"))

    speeds = {mail: median(run.per_second for run in runs) for mail, runs in drains.items()}
    costs = {mail: median(run.cpu_us["worker"] for run in runs) for mail, runs in drains.items()}
    record_property("orders a second", {mail: round(speed) for mail, speed in speeds.items()})
    record_property("CPU µs an order", {mail: round(cost) for mail, cost in costs.items()})
    for mail in ("slow", "gone"):
        assert speeds[mail] > 0.85 * speeds["well"]
        assert costs[mail] < 1.15 * costs["well"]
