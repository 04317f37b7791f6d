"""Failpoints: where a test can stop the process, to prove that nothing is lost or done twice.

`BOOKSTORE_FAILPOINT` arms them.  `P4:3:kill` ends the process when it reaches P4 for the third
time; `*` instead of the number means every time.  An optional fourth part is a row id:
`P4:*:kill:17` counts only when order 17 is among the rows in progress.  Commas separate several
failpoints.  The actions are `kill` (SIGKILL), `stop` (SIGSTOP), `raise` and `sleep`.  Production
refuses to start with the variable set (`config/settings.py`).  Without it, a failpoint costs one
comparison.

The `tasks` table is outbox, inbox and job list in one, and the relay publishes from it.  So these
failpoints cover every step:

    placing an order (web)
    W0  request read                     W4  everything written, before COMMIT
    W1  idempotency key written          W5  after COMMIT, task ids announced
    W2  cart emptied                     W6  response built, nothing sent yet
    W3  order, lines, event and the order's task written

    publishing tasks (the relay, and every process for the tasks it wrote)
    R1  relay: rows claimed and their next publication scheduled, before COMMIT
    R2  relay: after COMMIT, nothing published
    R3  handed to the broker's client, no confirm read
    R4  confirmed by the broker
    R5  relay: published, before the next pass

    processing orders (worker)
    P1  message received, attempt not counted
    P2  attempt counted (COMMIT)
    P3  task rows locked and deleted
    P4  orders locked and read
    P5  ledger, states, totals and events written
    P6  e-mails and their tasks written, stock not yet
    P7  after COMMIT, message not acknowledged
    P8  acknowledgement handed to the broker's client, not sent

    sending an e-mail (worker)
    M1  claimed (COMMIT)                 M5  final dot sent, no reply read
    M2  connected                        M6  reply read, result not recorded
    M3  sender and recipient accepted    M7  result recorded (COMMIT), not acknowledged
    M4  DATA accepted, no content sent

    cancelling an order (web)
    C1  order locked and read            C3  before COMMIT
    C2  cancelled, stock returned        C4  after COMMIT, before the response

    retrying (worker)
    X1  work failed and rolled back, failure not recorded
    X2  failure and next attempt recorded (COMMIT), message not acknowledged
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

_NUMBERS = {
    "W": range(7),
    "R": range(1, 6),
    "P": range(1, 9),
    "M": range(1, 8),
    "C": range(1, 5),
    "X": range(1, 3),
}
NAMES = frozenset(f"{kind}{number}" for kind, numbers in _NUMBERS.items() for number in numbers)
#: Longer than any timeout of a customer's request, shorter than the workers' timeouts.
SLEEP_S = 5.0


class Crash(Exception):
    """Raised by the action `raise`; no code of ours catches it specifically."""


@dataclass(frozen=True, slots=True)
class _Spec:
    hit: int | None
    action: str
    ref_id: int | None


def failpoint(name: str, ref_ids: Collection[int] = ()) -> None:
    """Do nothing unless a test has armed this failpoint; `ref_ids` are the rows in progress."""
    if _ARMED and name in _ARMED:
        _hit(name, ref_ids)


def armed(name: str) -> bool:
    """Whether a test has armed this failpoint."""
    return name in _ARMED


def _hit(name: str, ref_ids: Collection[int]) -> None:
    spec = _ARMED[name]
    if spec.ref_id is not None and spec.ref_id not in ref_ids:
        return
    with _lock:
        _hits[name] += 1
        if spec.hit not in (None, _hits[name]):
            return
    _ACTIONS[spec.action](name)


def _armed(text: str) -> dict[str, _Spec]:
    specs = {}
    for part in filter(None, text.split(",")):
        name, hit, action, *ref_id = part.split(":")
        if name not in NAMES or action not in _ACTIONS:
            raise ValueError(f"BOOKSTORE_FAILPOINT: no such failpoint or action: {part}")
        specs[name] = _Spec(
            None if hit == "*" else int(hit), action, int(ref_id[0]) if ref_id else None
        )
    return specs


def _kill(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise(name: str) -> None:
    raise Crash(name)


def _sleep(_name: str) -> None:
    time.sleep(SLEEP_S)


_ACTIONS = {"kill": _kill, "stop": _stop, "raise": _raise, "sleep": _sleep}
_hits: Counter[str] = Counter()
_lock = threading.Lock()
_ARMED = _armed(os.environ.get("BOOKSTORE_FAILPOINT", ""))
