"""The long tier, `make faults`: a kill at each failpoint twenty times, everything else in full.

Results are written to build/faults.jsonl line by line, so an interrupted run resumes where it
stopped.  Remove the file to start again.
"""

import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bookstore.database.failpoints import NAMES
from tests.faults.figures import VARIABLE
from tests.faults.kills import IN_FLIGHT, kill_at
from tests.faults.results import ROOT, Recorder, Results
from tests.faults.store import ScaledOut
from tests.servers.mariadb import MariaDBServer
from tests.servers.rabbitmq import RabbitMQServer

LIMIT_S = 110 * 60
KILLS = 20
#: Stores that are killed in parallel: most of the time is spent on starting programs.
LANES = 3
#: Reached once for each order or e-mail, so at least ten times; the others once for each batch.
OFTEN = {name for name in NAMES if name[0] in "CM"} | {"W0", "W6"}
#: Everything else, in this order: what is most notifying, first.
TESTS = (
    "tests/faults",
    "tests/bookstore/operations/test_invariants_histories.py",
    "tests/bookstore/tasks/test_outbox_histories.py",
    # The kills above repeat these twenty times.
    "--deselect=tests/faults/test_web_kills.py",
    "--deselect=tests/faults/test_worker_kills.py",
)
#: Longer than the longest test.
TEST_TIMEOUT_S = 1800
LOST = {
    "every accepted order is stored",
    "every placed order has a processing task",
    "every unsent e-mail has a sending task",
    "every e-mail arrived",
    "nothing is left to do",
}
DOUBLED = {
    "every answer to a key tells of the same order",
    "a key has one order",
    "every order was asked for",
    "no status occurs twice in an order",
    "every sold item has a matching stock movement",
    "a cancelled order has returned its stock",
    "only e-mails in doubt arrive twice",
    "no e-mail arrives oftener than twice",
}


def kills() -> Iterator[tuple[str, str, int]]:
    """Name, failpoint and hit of each kill, round by round, so that a partial run covers all."""
    for number in range(KILLS):
        for place in sorted(NAMES):
            yield f"{place}/{number}", place, 1 + number % 10 if place in OFTEN else 1


class Kills:
    """The kills that are not recorded yet, distributed to lanes."""

    def __init__(self, results: Results, ends: float) -> None:
        self._results = results
        self._ends = ends
        self._left = [kill for kill in kills() if kill[0] not in results.entries]
        self._lock = threading.Lock()

    def run(self) -> None:
        if not self._left:
            return
        with (
            MariaDBServer() as mariadb,
            RabbitMQServer() as rabbitmq,
            tempfile.TemporaryDirectory() as folder,
        ):
            # A lane is one thread: the kernel ends its programs with the thread.
            lanes = [
                threading.Thread(target=self._lane, args=(mariadb, rabbitmq, Path(folder), number))
                for number in range(LANES)
            ]
            for lane in lanes:
                lane.start()
            for lane in lanes:
                lane.join()

    def _lane(
        self, mariadb: MariaDBServer, rabbitmq: RabbitMQServer, folder: Path, lane: int
    ) -> None:
        stores = 0
        kill = self._next()
        while kill is not None:
            stores += 1
            name = f"faults_{lane}_{stores}"
            with ScaledOut(mariadb.client, rabbitmq.client, folder, name) as store:
                store.start()
                # A violation in this store would be found again after each kill.
                while kill is not None and self._kill(store, *kill):
                    kill = self._next()
            kill = kill and self._next()

    def _next(self) -> tuple[str, str, int] | None:
        with self._lock:
            return self._left.pop(0) if self._left and time.monotonic() < self._ends else None

    def _kill(self, store: ScaledOut, name: str, place: str, hit: int) -> bool:
        """Whether all was well afterwards."""
        began = time.monotonic()
        try:
            outcome = kill_at(store, place, hit)
        except Exception as error:  # The other lanes continue.
            print(f"{name}: {error!r}", flush=True)
            with self._lock:
                self._results.add(name, place=place, failed=repr(error)[:2000])
            return False
        for finding in outcome.findings:
            print(f"{name}: {finding.invariant}: {finding.row}", flush=True)
        with self._lock:
            self._results.add(
                name,
                place=place,
                orders=outcome.orders,
                copies=outcome.copies,
                findings=[finding.invariant for finding in outcome.findings],
                rows=[finding.row for finding in outcome.findings],
                took_s=round(time.monotonic() - began, 1),
            )
        return not outcome.findings


class Deadline:
    """A pytest plugin that starts no test after the deadline."""

    def __init__(self, ends: float) -> None:
        self._ends = ends

    def pytest_runtest_setup(self) -> None:
        if time.monotonic() > self._ends:
            pytest.exit("the time is over; the next run goes on from here", 0)


def run_tests(results: Results, ends: float) -> None:
    if time.monotonic() < ends:
        arguments = [*TESTS, "-q", f"--timeout={TEST_TIMEOUT_S}", "-p", "no:cacheprovider"]
        pytest.main([*arguments, f"--rootdir={ROOT}"], plugins=[Recorder(results), Deadline(ends)])


def report(results: Results) -> int:
    """Print the counts; the exit code is 1 if anything was lost, duplicated or failed."""
    killed = [entry for entry in results.entries.values() if "place" in entry]
    tests = [entry for entry in results.entries.values() if "outcome" in entry]
    hits = [entry for entry in killed if "orders" in entry]
    found = Counter(invariant for entry in hits for invariant in entry["findings"])
    lost = sum(found[invariant] for invariant in LOST)
    doubled = sum(found[invariant] for invariant in DOUBLED)
    red = [entry["name"] for entry in killed if "failed" in entry]
    red += [entry["name"] for entry in tests if entry["outcome"] == "failed"]
    print(
        f"{len(hits)} of {len(NAMES) * KILLS} kills at {len({e['place'] for e in hits})} places,"
        f" {len(hits) * IN_FLIGHT} orders: {lost} lost, {doubled} doubled,"
        f" {found.total() - lost - doubled} other findings;"
        f" {sum(entry['copies'] for entry in hits)} copies of e-mails, all of them in doubt."
    )
    if hits and not found:
        # The rule of three: no event in n trials.  The orders of one kill are not independent
        # trials.
        print(f"With 95 % confidence fewer than {3 / len(hits):.2%} of kills lose or double.")
    passed = [entry for entry in tests if entry["outcome"] == "passed"]
    print(f"{len(passed)} of {len(tests)} tests of the other faults passed.")
    for entry in passed:
        if entry["figures"]:
            print(f"  {entry['name'].rpartition('::')[2]}: {_shown(entry['figures'])}")
    for name in red:
        print(f"  red: {name}")
    return 1 if found or red else 0


def _shown(figures: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def main(arguments: Sequence[str]) -> int:
    if os.environ.get(VARIABLE) != "full":
        # The tests read it when they are imported, so it is set first.
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.faults", *arguments],
            {**os.environ, VARIABLE: "full"},
        )
    results = Results()
    if arguments != ["report"]:
        ends = time.monotonic() + LIMIT_S
        Kills(results, ends).run()
        run_tests(results, ends)
    return report(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
