"""The long tier, `make faults`: each place killed twenty times, everything else in full.

What is done is kept in build/faults.jsonl, line by line, so a run that was stopped goes on
where it was.  Remove the file to start anew.
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
#: Stores that are killed side by side: most of a kill is waiting for programs to start.
LANES = 3
#: Passed once for each order or letter, and so at least ten times; the others once for a group.
OFTEN = {name for name in NAMES if name[0] in "CM"} | {"W0", "W6"}
#: Everything else, in this order: what is most notifying, first.
TESTS = (
    "tests/faults",
    "tests/bookstore/operations/test_invariants_histories.py",
    "tests/bookstore/tasks/test_outbox_histories.py",
    # The kills above are these, twenty times.
    "--deselect=tests/faults/test_web_kills.py",
    "--deselect=tests/faults/test_worker_kills.py",
)
#: Longer than the longest of them.
TEST_TIMEOUT_S = 1800
LOST = {
    "every accepted order is stored",
    "every placed order is waiting for the order service",
    "every unsent letter is waiting for the mail service",
    "every letter arrived",
    "nothing is left to do",
}
DOUBLED = {
    "every answer to a key tells of the same order",
    "a key has one order",
    "every order was asked for",
    "nothing happens twice to an order",
    "what was sold is on the ledger, once",
    "a cancelled order gave back what it took",
    "only letters in doubt arrive twice",
    "no letter arrives oftener than twice",
}


def kills() -> Iterator[tuple[str, str, int]]:
    """Name, place and hit of each kill; round by round, so that a part is worth something."""
    for number in range(KILLS):
        for place in sorted(NAMES):
            yield f"{place}/{number}", place, 1 + number % 10 if place in OFTEN else 1


class Kills:
    """The kills that are not on record, shared out to lanes."""

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
            # A lane is one thread for all of its life: the kernel ends its programs with it.
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
                # What is wrong in this store would be found again each time.
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
        except Exception as error:  # The other lanes go on.
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
    """A plugin of pytest that begins nothing more when the time is over."""

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
    """Print the counts; the exit code is 1 when anything was lost, doubled or red."""
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
        f" {sum(entry['copies'] for entry in hits)} copies of letters, all of them in doubt."
    )
    if hits and not found:
        # The rule of three: none seen in n tries.  The orders of one kill are no tries of
        # their own.
        print(f"With 95 % confidence fewer than {3 / len(hits):.2%} of kills lose or double.")
    passed = [entry for entry in tests if entry["outcome"] == "passed"]
    print(f"{len(passed)} of {len(tests)} tests of the other faults passed.")
    for entry in passed:
        if entry["figures"]:
            print(f"  {entry['name'].rpartition('::')[2]}: {_told(entry['figures'])}")
    for name in red:
        print(f"  red: {name}")
    return 1 if found or red else 0


def _told(figures: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def main(arguments: Sequence[str]) -> int:
    if os.environ.get(VARIABLE) != "full":
        # Read when the tests are imported, so before anything else.
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
