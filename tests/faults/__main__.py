"""The long tier, `make faults`: each place killed twenty times, each other fault in rounds.

What is done is kept in build/faults.jsonl, line by line, so a run that was stopped goes on
where it was.  Remove the file to start anew.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bookstore.crashpoints import NAMES
from tests.faults.kills import IN_FLIGHT, kill_at
from tests.faults.store import ScaledOut
from tests.servers.mariadb import MariaDBServer
from tests.servers.rabbitmq import RabbitMQServer

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build" / "faults.jsonl"
LIMIT_S = 110 * 60
KILLS = 20
#: Passed once for each order or letter, and so at least ten times; the others once for a group.
OFTEN = {name for name in NAMES if name[0] in "CM"} | {"W0", "W6"}
#: The other tests, and how many rounds of each: twenty kills of either server in all.
ROUNDS = {
    "test_database_away.py": 20,
    "test_broker_away.py": 10,
    "test_mail_away.py": 10,
    "test_races.py": 5,
    "test_poison.py": 5,
    "test_embedded_kills.py": 5,
}
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


class Results:
    """What was done, by what it was called; each line is written as soon as it is known."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.entries: dict[str, dict[str, Any]] = {
            entry["name"]: entry for entry in map(json.loads, lines)
        }

    def add(self, name: str, **facts: Any) -> None:
        self.entries[name] = {"name": name, **facts}
        with self._path.open("a") as file:
            file.write(json.dumps(self.entries[name]) + "\n")


def kills() -> Iterator[tuple[str, str, int]]:
    """Name, place and hit of each kill; round by round, so that a part is worth something."""
    for number in range(KILLS):
        for place in sorted(NAMES):
            yield f"{place}/{number}", place, 1 + number % 10 if place in OFTEN else 1


def run_kills(results: Results, ends: float) -> None:
    left = [kill for kill in kills() if kill[0] not in results.entries]
    if not left:
        return
    with (
        MariaDBServer() as mariadb,
        RabbitMQServer() as rabbitmq,
        tempfile.TemporaryDirectory() as folder,
    ):
        stores = 0
        while left and time.monotonic() < ends:
            stores += 1
            name = f"faults_{stores}"
            with ScaledOut(mariadb.client, rabbitmq.client, Path(folder), name) as store:
                store.start()
                while left and time.monotonic() < ends:
                    if not run_kill(results, store, *left.pop(0)):
                        break  # What is wrong in this store would be found again each time.


def run_kill(results: Results, store: ScaledOut, name: str, place: str, hit: int) -> bool:
    try:
        outcome = kill_at(store, place, hit)
    except AssertionError as error:
        print(f"{name}: {error}", flush=True)
        results.add(name, kill=True, failed=str(error)[:500])
        return False
    found = [finding.invariant for finding in outcome.findings]
    for finding in outcome.findings:
        print(f"{name}: {finding.invariant}: {finding.row}", flush=True)
    results.add(name, kill=True, orders=outcome.orders, copies=outcome.copies, findings=found)
    return not found


def run_rounds(results: Results, ends: float) -> None:
    for number in range(max(ROUNDS.values())):
        for file, rounds in ROUNDS.items():
            name = f"{file}/{number}"
            if number >= rounds or name in results.entries or time.monotonic() > ends:
                continue
            command = [sys.executable, "-m", "pytest", "-q", f"tests/faults/{file}"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}\n{done.stdout[-5000:]}", flush=True)
            results.add(name, kill=False, code=done.returncode)


def report(results: Results) -> int:
    """Print the counts; the exit code is 1 when anything was lost, doubled or red."""
    killed = [entry for entry in results.entries.values() if entry["kill"]]
    hits = [entry for entry in killed if "orders" in entry]
    found = Counter(invariant for entry in hits for invariant in entry["findings"])
    lost = sum(found[invariant] for invariant in LOST)
    doubled = sum(found[invariant] for invariant in DOUBLED)
    rounds = [entry for entry in results.entries.values() if not entry["kill"]]
    red = [entry["name"] for entry in rounds if entry["code"]]
    red += [entry["name"] for entry in killed if "failed" in entry]
    print(
        f"{len(hits)} of {len(NAMES) * KILLS} kills at {len({e['name'][:2] for e in hits})} places,"
        f" {len(hits) * IN_FLIGHT} orders: {lost} lost, {doubled} doubled,"
        f" {found.total() - lost - doubled} other findings;"
        f" {sum(entry['copies'] for entry in hits)} copies of letters, all of them in doubt."
    )
    if hits and not found:
        # The rule of three: none seen in n tries.  The orders of one kill are no tries of
        # their own.
        print(f"With 95 % confidence fewer than {3 / len(hits):.2%} of kills lose or double.")
    print(f"{len(rounds)} of {sum(ROUNDS.values())} rounds of the other faults, {len(red)} red.")
    for name in red:
        print(f"  {name}")
    return 1 if found or red else 0


def main() -> int:
    ends = time.monotonic() + LIMIT_S
    results = Results(RESULTS)
    run_kills(results, ends)
    run_rounds(results, ends)
    return report(results)


if __name__ == "__main__":
    sys.exit(main())
