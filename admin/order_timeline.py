"""One timeline of an order: its steps, the messages and attempts behind them, copies moved,
letters, and what staff did and wrote."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from bookstore.notifications import Status
from bookstore.orders import State
from bookstore.orders.timeline import Acted, Failed, Moved, Noted, Posted, Step, Timeline
from bookstore.tasks.outbox import Row

#: What can be shown alone.
KINDS = ("steps", "messages", "stock", "letters", "staff")


class Entry(NamedTuple):
    """`tone` is `step`, `staff`, `bad` or nothing."""

    at: datetime
    kind: str
    icon: str
    tone: str
    words: str
    detail: str | None
    who: str


def entries(trail: Timeline) -> list[Entry]:
    """All that happened, oldest first."""
    found = [
        *map(_step, trail.steps),
        *(entry for step in trail.steps for entry in _message(step)),
        *_moved(trail.moved),
        *map(_failed, trail.failed),
        *(_letter(letter) for letter in trail.letters if letter.attempts or letter.sent_at),
        *(_given_up(task) for task in trail.tasks if task.dead_at),
        *map(_acted, trail.acted),
        *map(_noted, trail.noted),
    ]
    return sorted(found, key=lambda entry: entry.at)


def _step(step: Step) -> Entry:
    by_staff = step.actor.startswith("staff:")
    return Entry(
        step.at,
        "staff" if by_staff else "steps",
        _ICONS.get(step.kind, "info"),
        "bad" if step.kind == State.REJECTED else "step" if step.kind in set(State) else "staff",
        _spoken(step.kind),
        step.detail or None,
        f"worker {step.worker}" if step.worker else step.staff or step.actor,
    )


def _message(step: Step) -> Iterator[Entry]:
    """The message that made a worker take the step."""
    if step.message_id is None:
        return
    worked = timedelta(milliseconds=step.worked_ms or 0)
    parts = [f"try {step.attempt}"] if step.attempt else []
    if step.waited_ms is not None:
        parts.append(f"had waited {_lasted(step.waited_ms)}")
    if step.worked_ms is not None:
        parts.append(f"worked {_lasted(step.worked_ms)}")
    parts.append(f"message {step.message_id}")
    yield Entry(
        # Work begins before the step that it leads to.
        step.at - worked - timedelta(microseconds=1),
        "messages",
        "sending",
        "",
        "Message taken up",
        ", ".join(parts),
        f"worker {step.worker}" if step.worker else "worker",
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


def _failed(failed: Failed) -> Entry:
    return Entry(
        failed.at,
        "messages",
        "failed",
        "bad",
        f"Try {failed.attempt} of {failed.task} failed",
        failed.error,
        "worker",
    )


def _given_up(task: Row) -> Entry:
    assert task.dead_at is not None
    tries = "1 try" if task.attempts == 1 else f"{task.attempts} tries"
    return Entry(
        # After the failure that was the last.
        task.dead_at + timedelta(microseconds=1),
        "messages",
        "dead",
        "bad",
        f"{task.task} was given up after {tries}",
        task.error,
        "worker",
    )


def _letter(letter: Posted) -> Entry:
    name = letter.kind.replace("-", " ")
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


def _acted(acted: Acted) -> Entry:
    what = {"task": "work that was given up", "notification": "a letter"}.get(
        acted.object_type, acted.object_type
    )
    reason = acted.changes.get("reason")
    return Entry(
        acted.at,
        "staff",
        "pencil",
        "staff",
        f"{_spoken(acted.action)}: {what}",
        str(reason[1]) if reason else None,
        acted.user_name or "command line",
    )


def _noted(noted: Noted) -> Entry:
    return Entry(
        noted.at, "staff", "pencil", "staff", f"Note: {noted.body}", None, noted.user_name or ""
    )


def _spoken(code: str) -> str:
    return code.replace("-", " ").replace("_", " ").capitalize()


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
