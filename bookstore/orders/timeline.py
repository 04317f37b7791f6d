"""What happened around one order, as staff read it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import (
    audit_log,
    books,
    notifications,
    order_events,
    order_notes,
    stock_movements,
    task_failures,
    tasks,
    users,
)
from bookstore.notifications import Status
from bookstore.tasks.outbox import Row, Task, work_name


@dataclass(frozen=True, slots=True)
class Step:
    """An order's event with all that is known of the work behind it.

    `staff` is the name of the member of staff who did it, None where it was somebody else.
    """

    kind: str
    at: datetime
    actor: str
    detail: str | None
    attempt: int | None
    message_id: str | None
    worker: str | None
    waited_ms: int | None
    worked_ms: int | None
    staff: str | None


@dataclass(frozen=True, slots=True)
class Moved:
    """Copies of a book that an order took from the shelf, or gave back."""

    at: datetime
    title: str
    delta: int


@dataclass(frozen=True, slots=True)
class Posted:
    """A letter about an order, without its words."""

    id: int
    kind: str
    status: Status
    in_doubt: bool
    attempts: int
    answer: str | None
    created_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt at the order's work, or at one of its letters, that came to nothing."""

    at: datetime
    task: str
    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class Acted:
    """What staff did around the order that is no step of it."""

    at: datetime
    action: str
    object_type: str
    changes: dict[str, Any]
    user_name: str | None


@dataclass(frozen=True, slots=True)
class Noted:
    """What staff wrote about the order."""

    at: datetime
    body: str
    user_name: str | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that happened around one order; `tasks` is what is still to be done for it."""

    steps: list[Step]
    letters: list[Posted]
    tasks: list[Row]
    moved: list[Moved]
    failed: list[Failed]
    acted: list[Acted]
    noted: list[Noted]


#: Steps by staff have the actor `staff:7`.
_STAFF_ID = case(
    (
        order_events.c.actor.startswith("staff:"),
        cast(func.substr(order_events.c.actor, len("staff:") + 1), BigInteger),
    )
)


async def of_order(conn: AsyncConnection, order_id: int) -> Timeline:
    """All that happened around an order, each kind oldest first."""
    steps = await conn.execute(
        select(
            order_events.c.kind,
            order_events.c.at,
            order_events.c.actor,
            order_events.c.detail,
            order_events.c.attempt,
            order_events.c.message_id,
            order_events.c.worker,
            order_events.c.waited_ms,
            order_events.c.worked_ms,
            users.c.name.label("staff"),
        )
        .outerjoin(users, users.c.id == _STAFF_ID)
        .where(order_events.c.order_id == order_id)
        .order_by(order_events.c.seq)
    )
    found = await conn.execute(
        select(notifications)
        .where(notifications.c.order_id == order_id)
        .order_by(notifications.c.id)
    )
    letters = [
        Posted(
            id=row.id,
            kind=row.kind,
            status=Status.stored(row.status),
            in_doubt=row.in_doubt,
            attempts=row.attempts,
            answer=row.smtp_answer,
            created_at=row.created_at,
            sent_at=row.sent_at,
        )
        for row in found
    ]
    around = await _around(conn, order_id)
    return Timeline(
        steps=[Step(**row._mapping) for row in steps],
        letters=letters,
        tasks=await _tasks(conn, order_id, [letter.id for letter in letters]),
        moved=[Moved(row.at, row.words, row.number) for row in around if row.what == "moved"],
        failed=[
            Failed(row.at, row.about, row.number, row.words)
            for row in around
            if row.what == "failed"
        ],
        acted=[
            Acted(row.at, row.about, row.detail, json.loads(row.words), row.who)
            for row in around
            if row.what == "acted"
        ],
        noted=[Noted(row.at, row.words, row.who) for row in around if row.what == "noted"],
    )


async def _around(conn: AsyncConnection, order_id: int) -> Sequence[Any]:
    """Copies moved, attempts that failed, what staff did and wrote: oldest first, at one go."""
    letter_ids = select(notifications.c.id).where(notifications.c.order_id == order_id)
    none = null().label("none")
    moved = (
        _row("moved", stock_movements.c.created_at, none, books.c.title, none)
        .add_columns(stock_movements.c.delta.label("number"), _text(null()).label("who"))
        .join_from(stock_movements, books, books.c.id == stock_movements.c.book_id)
        .where(stock_movements.c.order_id == order_id)
    )
    failed = (
        _row("failed", task_failures.c.at, task_failures.c.task, task_failures.c.error, none)
        .add_columns(task_failures.c.attempt.label("number"), _text(null()).label("who"))
        .where(
            or_(
                _work(Task.PROCESS_ORDERS, task_failures, [order_id]),
                _work(Task.SEND_NOTIFICATIONS, task_failures, letter_ids),
            )
        )
    )
    own_work = or_(
        audit_log.c.object_id == work_name(Task.PROCESS_ORDERS, order_id),
        audit_log.c.object_id.in_(_of_letters(f"{Task.SEND_NOTIFICATIONS}:", order_id)),
    )
    own_letter = audit_log.c.object_id.in_(_of_letters("", order_id))
    acted = (
        _row(
            "acted",
            audit_log.c.at,
            audit_log.c.action,
            audit_log.c.changes,
            audit_log.c.object_type,
        )
        .add_columns(literal(0).label("number"), _text(users.c.name).label("who"))
        .outerjoin_from(audit_log, users, users.c.id == audit_log.c.user_id)
        .where(
            or_(
                and_(audit_log.c.object_type == "task", own_work),
                and_(audit_log.c.object_type == "notification", own_letter),
            )
        )
    )
    noted = (
        _row("noted", order_notes.c.created_at, none, order_notes.c.body, none)
        .add_columns(literal(0).label("number"), _text(users.c.name).label("who"))
        .join_from(order_notes, users, users.c.id == order_notes.c.user_id)
        .where(order_notes.c.order_id == order_id)
    )
    every = union_all(moved, failed, acted, noted).subquery()
    return (await conn.execute(select(every).order_by(every.c.at))).all()


def _row(what: str, at: Any, about: Any, words: Any, detail: Any) -> Select[Any]:
    return select(
        _text(literal(what)).label("what"),
        at.label("at"),
        _text(about).label("about"),
        _text(words).label("words"),
        _text(detail).label("detail"),
    )


def _of_letters(before: str, order_id: int) -> Select[Any]:
    """What the audit calls an order's letters, and the work on them."""
    return select(func.concat(before, notifications.c.id)).where(
        notifications.c.order_id == order_id
    )


def _text(of: Any) -> ColumnElement[str]:
    # One kind of text for all: columns compared letter by letter do not unite with others.
    return cast(of, String(2000))


def _work(task: Task, table: Any, ref_ids: Any) -> ColumnElement[bool]:
    return and_(table.c.task == task, table.c.ref_id.in_(ref_ids))


async def _tasks(conn: AsyncConnection, order_id: int, letter_ids: list[int]) -> list[Row]:
    of_order = and_(tasks.c.task == Task.PROCESS_ORDERS, tasks.c.ref_id == order_id)
    of_letters = and_(tasks.c.task == Task.SEND_NOTIFICATIONS, tasks.c.ref_id.in_(letter_ids))
    found = await conn.execute(select(tasks).where(or_(of_order, of_letters)).order_by(tasks.c.id))
    return [Row(**{**row._mapping, "task": Task.stored(row.task)}) for row in found]
