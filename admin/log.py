"""One timeline of an order: its steps, copies moved, letters, and what staff did."""

from datetime import datetime
from typing import NamedTuple

from bookstore.letters import Kind
from bookstore.notifications import Status
from bookstore.orders import State
from bookstore.trails import Moved, Posted, Step, Trail

#: What can be shown alone.
KINDS = ("steps", "stock", "letters", "staff", "work")


class Entry(NamedTuple):
    """`tone` is `step`, `staff`, `bad` or nothing."""

    at: datetime
    kind: str
    icon: str
    tone: str
    words: str
    detail: str | None
    who: str


def entries(trail: Trail) -> list[Entry]:
    """All that happened, oldest first."""
    found = [
        *map(_step, trail.steps),
        *_moved(trail.moved),
        *(_letter(letter) for letter in trail.letters if letter.attempts or letter.sent_at),
        *(
            Entry(
                task.parked_at or task.created_at,
                "work",
                "dead" if task.parked_at else "failed",
                "bad",
                f"{task.task} {'was given up' if task.parked_at else 'failed'}"
                f" after {task.attempts} {'try' if task.attempts == 1 else 'tries'}",
                task.error,
                "worker",
            )
            for task in trail.tasks
            if task.error
        ),
    ]
    return sorted(found, key=lambda entry: entry.at)


def _step(step: Step) -> Entry:
    by_staff = step.actor.startswith("staff:")
    parts = [step.detail] if step.detail else []
    if step.waited_ms is not None:
        parts.append(f"waited {_lasted(step.waited_ms)}")
    if step.worked_ms is not None:
        parts.append(f"worked {_lasted(step.worked_ms)}")
    if step.attempt is not None and step.attempt > 1:
        parts.append(f"try {step.attempt}")
    return Entry(
        step.at,
        "staff" if by_staff else "steps",
        _ICONS.get(step.kind, "info"),
        "bad" if step.kind == State.REJECTED else "step" if step.kind in set(State) else "staff",
        step.kind.replace("-", " ").replace("_", " ").capitalize(),
        ", ".join(parts) or None,
        f"worker {step.worker}" if step.worker else step.staff or step.actor,
    )


def _moved(moved: list[Moved]) -> list[Entry]:
    """Copies that moved at one moment in one sentence."""
    together: dict[datetime, list[str]] = {}
    for it in moved:
        sign = "+" if it.delta > 0 else "−"
        together.setdefault(it.at, []).append(f"{sign}{abs(it.delta)} {it.title}")
    return [
        Entry(at, "stock", "on-shelf", "", "Stock " + ", ".join(parts), None, "store")
        for at, parts in together.items()
    ]


def _letter(letter: Posted) -> Entry:
    name = Kind(letter.kind).replace("-", " ")
    if letter.status is Status.FAILED:
        words, icon, tone = f"Letter “{name}” failed", "failed", "bad"
    elif letter.in_doubt:
        words, icon, tone = f"Letter “{name}” is in doubt", "in-doubt", "bad"
    elif letter.status is Status.SENT:
        words, icon, tone = f"Letter “{name}” sent", "letter", ""
    elif letter.status is Status.MUTED:
        words, icon, tone = f"Letter “{name}” not wanted", "letter", ""
    else:
        words, icon, tone = f"Letter “{name}” is tried again", "queued", ""
    return Entry(
        letter.sent_at or letter.created_at, "letters", icon, tone, words, letter.answer, "worker"
    )


def _lasted(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


_ICONS = {
    **{str(state): str(state) for state in State},
    "payment-unpaid": "unpaid",
    "payment-authorized": "unpaid",
    "payment-paid": "paid",
    "payment-refund_due": "refunded",
    "payment-refunded": "refunded",
}
