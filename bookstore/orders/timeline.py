"""The timeline of one order, for staff: its events and everything related to them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
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

from bookstore.audit import AuditAction
from bookstore.database import documents
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
from bookstore.notifications import EmailStatus
from bookstore.notifications.emails import EmailKind
from bookstore.tasks.outbox import Task, TaskRow, work_name


@dataclass(frozen=True, slots=True)
class Step:
    """An event of the order, with what is recorded about the work behind it.

    `staff` is the name of the staff member who did it, None if it was not done by staff.
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
class StockStep:
    """A stock movement of the order: items taken from stock, or returned to it."""

    at: datetime
    title: str
    delta: int


@dataclass(frozen=True, slots=True)
class EmailStep:
    """An e-mail about the order, without its text."""

    id: int
    kind: EmailKind
    status: EmailStatus
    in_doubt: bool
    attempts: int
    answer: str | None
    created_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A failed attempt to process the order or to send one of its e-mails."""

    at: datetime
    task: str
    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class StaffAction:
    """What staff did about the order's tasks and e-mails; not a step of the order itself."""

    at: datetime
    action: AuditAction
    object_type: str
    changes: dict[str, Any]
    user_name: str | None


@dataclass(frozen=True, slots=True)
class StaffNote:
    """A note that staff wrote about the order."""

    at: datetime
    body: str
    user_name: str | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that happened around one order; `tasks` are its unfinished tasks."""

    steps: list[Step]
    emails: list[EmailStep]
    tasks: list[TaskRow]
    stock: list[StockStep]
    failures: list[FailedAttempt]
    actions: list[StaffAction]
    notes: list[StaffNote]


#: Steps by staff have the actor `staff:7`.
_STAFF_ID = case(
    (
        order_events.c.actor.startswith("staff:"),
        cast(func.substr(order_events.c.actor, len("staff:") + 1), BigInteger),
    )
)


_ZERO: ColumnElement[int] = literal(0)


async def of_order(conn: AsyncConnection, order_id: int) -> Timeline:
    """Everything that happened around an order, each kind oldest first."""
    recorded = [order_events.c[field.name] for field in fields(Step) if field.name != "staff"]
    steps = await conn.execute(
        select(*recorded, users.c.name.label("staff"))
        .outerjoin(users, users.c.id == _STAFF_ID)
        .where(order_events.c.order_id == order_id)
        .order_by(order_events.c.seq)
    )
    of_order = select(notifications).where(notifications.c.order_id == order_id)
    found = await conn.execute(of_order.order_by(notifications.c.id))
    emails = [
        EmailStep(
            id=row.id,
            kind=EmailKind.stored(row.kind),
            status=EmailStatus.stored(row.status),
            in_doubt=row.in_doubt,
            attempts=row.attempts,
            answer=row.smtp_answer,
            created_at=row.created_at,
            sent_at=row.sent_at,
        )
        for row in found
    ]
    around: dict[str, list[Any]] = defaultdict(list)
    for row in await _around(conn, order_id):
        around[row.what].append(row)
    return Timeline(
        steps=[Step(**row._mapping) for row in steps],
        emails=emails,
        tasks=await _tasks(conn, order_id, [email.id for email in emails]),
        stock=[StockStep(row.at, row.text, row.number) for row in around["stock"]],
        failures=[
            FailedAttempt(row.at, row.about, row.number, row.text) for row in around["failures"]
        ],
        actions=[
            StaffAction(
                row.at,
                AuditAction.stored(row.about),
                row.detail,
                documents.CHANGES.parse(row.text),
                row.who,
            )
            for row in around["actions"]
        ],
        notes=[StaffNote(row.at, row.text, row.who) for row in around["notes"]],
    )


async def _around(conn: AsyncConnection, order_id: int) -> Sequence[Any]:
    """Stock movements, failed attempts, staff actions and notes, oldest first, in one query."""
    movement, failure, entry = stock_movements.c, task_failures.c, audit_log.c
    email_ids = select(notifications.c.id).where(notifications.c.order_id == order_id)
    moved = (
        _row("stock", movement.created_at, text=books.c.title, number=movement.delta)
        .join_from(stock_movements, books, books.c.id == movement.book_id)
        .where(movement.order_id == order_id)
    )
    failed = _row(
        "failures", failure.at, about=failure.task, text=failure.error, number=failure.attempt
    ).where(
        or_(
            _work(Task.PROCESS_ORDERS, task_failures, [order_id]),
            _work(Task.SEND_NOTIFICATIONS, task_failures, email_ids),
        )
    )
    own_task = or_(
        audit_log.c.object_id == work_name(Task.PROCESS_ORDERS, order_id),
        audit_log.c.object_id.in_(_email_ids(f"{Task.SEND_NOTIFICATIONS}:", order_id)),
    )
    own_email = audit_log.c.object_id.in_(_email_ids("", order_id))
    acted = (
        _row(
            "actions",
            entry.at,
            about=entry.action,
            text=entry.changes,
            detail=entry.object_type,
            who=users.c.name,
        )
        .outerjoin_from(audit_log, users, users.c.id == audit_log.c.user_id)
        .where(
            or_(
                and_(audit_log.c.object_type == "task", own_task),
                and_(audit_log.c.object_type == "notification", own_email),
            )
        )
    )
    noted = (
        _row("notes", order_notes.c.created_at, text=order_notes.c.body, who=users.c.name)
        .join_from(order_notes, users, users.c.id == order_notes.c.user_id)
        .where(order_notes.c.order_id == order_id)
    )
    every = union_all(moved, failed, acted, noted).subquery()
    return (await conn.execute(select(every).order_by(every.c.at))).all()


def _row(what: str, at: Any, *, number: Any = _ZERO, **texts: Any) -> Select[Any]:
    """A row of the UNION; `texts` are its columns `about`, `text`, `detail` and `who`."""
    columns = {"what": literal(what), "about": null(), "text": null(), "detail": null()}
    columns |= {"who": null()} | texts
    labelled = [_text(column).label(name) for name, column in columns.items()]
    return select(at.label("at"), number.label("number"), *labelled)


def _email_ids(before: str, order_id: int) -> Select[Any]:
    """The ids by which the audit log knows an order's e-mails and the tasks that send them."""
    return select(func.concat(before, notifications.c.id)).where(
        notifications.c.order_id == order_id
    )


def _text(of: Any) -> ColumnElement[str]:
    # UNION needs one collation: columns compared by code point do not combine with others.
    return cast(of, String(2000))


def _work(task: Task, table: Any, ref_ids: Any) -> ColumnElement[bool]:
    return and_(table.c.task == task, table.c.ref_id.in_(ref_ids))


async def _tasks(conn: AsyncConnection, order_id: int, email_ids: list[int]) -> list[TaskRow]:
    of_order = and_(tasks.c.task == Task.PROCESS_ORDERS, tasks.c.ref_id == order_id)
    of_emails = and_(tasks.c.task == Task.SEND_NOTIFICATIONS, tasks.c.ref_id.in_(email_ids))
    found = await conn.execute(select(tasks).where(or_(of_order, of_emails)).order_by(tasks.c.id))
    return [TaskRow(**{**row._mapping, "task": Task.stored(row.task)}) for row in found]
