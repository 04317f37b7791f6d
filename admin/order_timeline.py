"""The timeline of an order as one list.

It has the order's steps, the messages and attempts behind them, stock movements, e-mails, and the
actions and notes of staff.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from admin.formatting import code, label, unknown
from bookstore.notifications import EmailStatus
from bookstore.orders import State
from bookstore.orders.timeline import (
    EmailStep,
    FailedAttempt,
    StaffAction,
    StaffNote,
    Step,
    StockStep,
    Timeline,
)
from bookstore.payments import Payment
from bookstore.tasks.outbox import TaskRow

#: The kinds of entries, by which the timeline can be filtered.
KINDS = ("steps", "messages", "stock", "e-mails", "staff")


class TimelineEntry(NamedTuple):
    """One line of the timeline; `tone` is `step`, `staff`, `bad` or empty."""

    at: datetime
    kind: str
    icon: str
    tone: str
    text: str
    detail: str | None
    actor: str


def entries(timeline: Timeline) -> list[TimelineEntry]:
    """The entries of the timeline, oldest first."""
    found = [
        *map(_step, timeline.steps),
        *(entry for step in timeline.steps for entry in _message(step)),
        *_stock_entries(timeline.stock),
        *map(_failed_attempt, timeline.failures),
        *(_email(email) for email in timeline.emails if email.attempts or email.sent_at),
        *(_dead_task(task) for task in timeline.tasks if task.dead_at),
        *map(_staff_action, timeline.actions),
        *map(_staff_note, timeline.notes),
    ]
    return sorted(found, key=lambda entry: entry.at)


def _step(step: Step) -> TimelineEntry:
    by_staff = step.actor.startswith("staff:")
    return TimelineEntry(
        step.at,
        "staff" if by_staff else "steps",
        _ICONS.get(step.kind, "info"),
        "bad" if step.kind == State.REJECTED else "step" if step.kind in set(State) else "staff",
        label(step.kind) if step.kind in _EVENT_KINDS else unknown(step.kind),
        step.detail or None,
        f"worker {step.worker}" if step.worker else step.staff or step.actor,
    )


def _message(step: Step) -> Iterator[TimelineEntry]:
    """The message that a worker processed to make the step."""
    if step.message_id is None:
        return
    worked = timedelta(milliseconds=step.worked_ms or 0)
    parts = [f"attempt {step.attempt}"] if step.attempt else []
    if step.waited_ms is not None:
        parts.append(f"waited {_duration(step.waited_ms)}")
    if step.worked_ms is not None:
        parts.append(f"processed in {_duration(step.worked_ms)}")
    parts.append(f"message {step.message_id}")
    yield TimelineEntry(
        # Processing starts before the step that results from it.
        step.at - worked - timedelta(microseconds=1),
        "messages",
        "sending",
        "",
        "Message received",
        ", ".join(parts),
        f"worker {step.worker}" if step.worker else "worker",
    )


def _stock_entries(movements: list[StockStep]) -> list[TimelineEntry]:
    """The stock movements; those of one moment share an entry."""
    by_time: dict[datetime, list[str]] = {}
    for it in movements:
        sign = "+" if it.delta > 0 else "−"
        by_time.setdefault(it.at, []).append(f"{sign}{abs(it.delta)} {it.title}")
    return [
        TimelineEntry(at, "stock", "in-stock", "", "Stock " + ", ".join(parts), None, "store")
        for at, parts in by_time.items()
    ]


def _failed_attempt(failed: FailedAttempt) -> TimelineEntry:
    return TimelineEntry(
        failed.at,
        "messages",
        "failed",
        "bad",
        f"Attempt {failed.attempt} of {failed.task} failed",
        failed.error,
        "worker",
    )


def _dead_task(task: TaskRow) -> TimelineEntry:
    assert task.dead_at is not None
    attempts = "1 attempt" if task.attempts == 1 else f"{task.attempts} attempts"
    return TimelineEntry(
        # Directly after the last failed attempt.
        task.dead_at + timedelta(microseconds=1),
        "messages",
        "dead",
        "bad",
        f"{code(task.task)} is dead after {attempts}",
        task.error,
        "worker",
    )


def _email(email: EmailStep) -> TimelineEntry:
    name = label(email.kind)
    if not email.status.is_known:
        text, icon, tone = f"E-mail “{name}”: {label(email.status)}", "info", ""
    elif email.status is EmailStatus.FAILED:
        text, icon, tone = f"E-mail “{name}” failed", "failed", "bad"
    elif email.in_doubt:
        text, icon, tone = f"E-mail “{name}” is in doubt", "in-doubt", "bad"
    elif email.status is EmailStatus.SENT:
        text, icon, tone = f"E-mail “{name}” sent", "email", ""
    elif email.status is EmailStatus.MUTED:
        text, icon, tone = f"E-mail “{name}” not sent: the customer opted out", "email", ""
    else:
        text, icon, tone = f"E-mail “{name}” will be retried", "queued", ""
    return TimelineEntry(
        email.sent_at or email.created_at, "e-mails", icon, tone, text, email.answer, "worker"
    )


def _staff_action(action: StaffAction) -> TimelineEntry:
    target = {"task": "dead task", "notification": "e-mail"}.get(
        action.object_type, action.object_type
    )
    reason = action.changes.get("reason")
    return TimelineEntry(
        action.at,
        "staff",
        "pencil",
        "staff",
        f"{label(action.action)}: {target}",
        str(reason[1]) if reason else None,
        action.user_name or "command line",
    )


def _staff_note(note: StaffNote) -> TimelineEntry:
    return TimelineEntry(
        note.at, "staff", "pencil", "staff", f"Note: {note.body}", None, note.user_name or ""
    )


def _duration(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


#: The kinds of events that this release stores.
_EVENT_KINDS = {*map(str, State), *(f"payment-{to}" for to in Payment), "claimed"}
_ICONS = {
    **{str(state): str(state) for state in State},
    "payment-unpaid": "unpaid",
    "payment-authorized": "unpaid",
    "payment-paid": "paid",
    "payment-refund_due": "refunded",
    "payment-refunded": "refunded",
}
