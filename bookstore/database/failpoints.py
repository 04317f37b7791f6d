"""Places where a test may kill the process, to see that nothing is lost and nothing doubled.

`BOOKSTORE_CRASHPOINT` names them: `P4:3:kill` ends the process when it passes P4 for the
third time; `*` instead of the number means every time.  A fourth part is the id of a row:
`P4:*:kill:17` counts only when order 17 is among those worked on.  Several are separated by
commas.  The actions are `kill` (SIGKILL), `stop` (SIGSTOP), `raise` and `sleep`.  Production
refuses to start with it (`config/settings.py`); without it a place costs one comparison.

The `tasks` table is outbox, inbox, job list and sweep in one, so the places are:

    placing an order (web)
    W0  the request is read              W4  all is written, before COMMIT
    W1  the key's row is written         W5  after COMMIT, the task ids are offered
    W2  the cart is emptied              W6  the answer is made, nothing of it is sent
    W3  order, lines, event and the order's task are written

    offering tasks (the relay, and every process for the tasks it wrote)
    R1  relay: rows claimed and their next offer put off, before COMMIT
    R2  relay: after COMMIT, nothing is offered
    R3  in the hands of the broker's client, no confirm read
    R4  confirmed by the broker
    R5  relay: offered, before the next pass

    working on orders (worker)
    P1  the message is there, no attempt is counted
    P2  the attempt is counted (COMMIT)
    P3  the tasks' rows are locked and deleted
    P4  the orders are locked and read
    P5  ledger, states, totals and events are written
    P6  letters and their tasks are written; next comes the stock
    P7  after COMMIT, the message is not acknowledged
    P8  the acknowledgement is given to the broker's client, not on the wire

    sending a letter (worker)
    M1  it is claimed (COMMIT)           M5  the final dot is sent, no answer is read
    M2  a connection is there            M6  the answer is read, nothing is noted
    M3  sender and recipient are taken   M7  the answer is noted (COMMIT), not acknowledged
    M4  DATA is taken, nothing of the letter is sent

    cancelling an order (web)
    C1  the order is locked and read     C3  before COMMIT
    C2  cancelled, stock is back         C4  after COMMIT, before the answer

    trying again (worker)
    X1  the work failed and is undone, nothing is noted about it
    X2  failure and next attempt are noted (COMMIT), the message is not acknowledged
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

_HOW_MANY = {
    "W": range(7),
    "R": range(1, 6),
    "P": range(1, 9),
    "M": range(1, 8),
    "C": range(1, 5),
    "X": range(1, 3),
}
NAMES = frozenset(f"{kind}{number}" for kind, numbers in _HOW_MANY.items() for number in numbers)
#: Longer than any deadline of a customer, shorter than those of the workers.
SLEEP_S = 5.0


class Crash(Exception):
    """What the action `raise` raises; no code of ours knows it."""


@dataclass(frozen=True, slots=True)
class _Spec:
    hit: int | None
    action: str
    ref_id: int | None


def failpoint(name: str, ref_ids: Collection[int] = ()) -> None:
    """Nothing, unless a test has armed this place; `ref_ids` are the rows worked on here."""
    if _ARMED and name in _ARMED:
        _pass(name, ref_ids)


def armed(name: str) -> bool:
    """Whether a test has armed this place."""
    return name in _ARMED


def _pass(name: str, ref_ids: Collection[int]) -> None:
    spec = _ARMED[name]
    if spec.ref_id is not None and spec.ref_id not in ref_ids:
        return
    with _lock:
        _passed[name] += 1
        if spec.hit not in (None, _passed[name]):
            return
    _ACTIONS[spec.action](name)


def _armed(text: str) -> dict[str, _Spec]:
    specs = {}
    for part in filter(None, text.split(",")):
        name, hit, action, *ref_id = part.split(":")
        if name not in NAMES or action not in _ACTIONS:
            raise ValueError(f"BOOKSTORE_CRASHPOINT: no such place or action: {part}")
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
_passed: Counter[str] = Counter()
_lock = threading.Lock()
_ARMED = _armed(os.environ.get("BOOKSTORE_CRASHPOINT", ""))
