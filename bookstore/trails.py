"""What happened, as staff read it: around one order, and in the audit."""

import json
from collections.abc import Collection, Sequence
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

from bookstore.desk import slices
from bookstore.desk.slices import Slice
from bookstore.notifications import Status
from bookstore.tables import (
    audit_log,
    books,
    notifications,
    order_events,
    order_notes,
    orders,
    stock_movements,
    task_failures,
    tasks,
    users,
)
from bookstore.tasks import Row, Task, work_name


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
class Trail:
    """All that happened around one order; `tasks` is what is still to be done for it."""

    steps: list[Step]
    letters: list[Posted]
    tasks: list[Row]
    moved: list[Moved]
    failed: list[Failed]
    acted: list[Acted]
    noted: list[Noted]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a task is about."""

    order_number: str | None
    notification_id: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the audit: `changes` maps a field to `[before, after]`, or to None."""

    id: int
    at: datetime
    user_id: int | None
    user_name: str | None
    action: str
    object_type: str
    object_id: str
    changes: dict[str, Any]
    #: The network address it came from; None for the command line.
    address: str | None


_AUDITED = ("id", "at", "user_id", "action", "object_type", "object_id", "changes", "address")
#: Steps by staff have the actor `staff:7`.
_STAFF_ID = case(
    (
        order_events.c.actor.startswith("staff:"),
        cast(func.substr(order_events.c.actor, len("staff:") + 1), BigInteger),
    )
)


async def of_order(conn: AsyncConnection, order_id: int) -> Trail:
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
            status=Status(row.status),
            in_doubt=row.in_doubt,
            attempts=row.attempts,
            answer=row.smtp_answer,
            created_at=row.created_at,
            sent_at=row.sent_at,
        )
        for row in found
    ]
    around = await _around(conn, order_id)
    return Trail(
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


async def subjects(conn: AsyncConnection, rows: Sequence[Row]) -> dict[int, Subject]:
    """What each of these tasks is about, by the tasks' ids."""
    order_ids = {row.ref_id for row in rows if row.task is Task.PROCESS_ORDERS}
    letter_ids = {row.ref_id for row in rows if row.task is Task.SEND_NOTIFICATIONS}
    numbers: dict[tuple[Task, int], str] = {}
    if order_ids:
        found = await conn.execute(
            select(orders.c.id, orders.c.number).where(orders.c.id.in_(order_ids))
        )
        numbers |= {(Task.PROCESS_ORDERS, row.id): row.number for row in found}
    if letter_ids:
        found = await conn.execute(
            select(notifications.c.id, orders.c.number)
            .join(orders, orders.c.id == notifications.c.order_id)
            .where(notifications.c.id.in_(letter_ids))
        )
        numbers |= {(Task.SEND_NOTIFICATIONS, row.id): row.number for row in found}
    return {
        row.id: Subject(
            numbers.get((row.task, row.ref_id)),
            row.ref_id if row.task is Task.SEND_NOTIFICATIONS else None,
        )
        for row in rows
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which changes; all conditions have to hold, None is no condition."""

    object_type: str | None = None
    object_id: str | None = None
    user_id: int | None = None
    action: str | None = None
    since: datetime | None = None


#: How the changes are sorted.
AUDIT_SORTS = {"time": audit_log.c.id}
LATEST = "-time"


async def audit(
    conn: AsyncConnection,
    asked: Asked | None = None,
    *,
    sort: str = LATEST,
    cursor: str | None = None,
    limit: int = 25,
) -> Slice[Change]:
    """Who changed what, the newest first unless `sort` says otherwise.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    query = _audited(asked or Asked())
    by = slices.order(sort, AUDIT_SORTS, audit_log.c.id, LATEST)
    found = await slices.cut(conn, query, by, cursor=cursor, limit=limit)
    return found.of(
        [
            Change(user_name=row.user_name, **{name: row._mapping[name] for name in _AUDITED})
            for row in found.items
        ]
    )


async def count_audit(conn: AsyncConnection, asked: Asked, most: int) -> int:
    """How many changes there are of these, up to `most`."""
    return await slices.count(conn, _audited(asked), most)


def _audited(asked: Asked) -> Select[Any]:
    columns = [audit_log.c[name] for name in _AUDITED]
    query: Select[Any] = select(*columns, users.c.name.label("user_name")).outerjoin_from(
        audit_log, users, users.c.id == audit_log.c.user_id
    )
    for column, wanted in (
        (audit_log.c.object_type, asked.object_type),
        (audit_log.c.object_id, asked.object_id),
        (audit_log.c.user_id, asked.user_id),
        (audit_log.c.action, asked.action),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if asked.since is not None:
        query = query.where(audit_log.c.at >= asked.since)
    return query


async def order_numbers(conn: AsyncConnection, order_ids: Collection[int]) -> dict[int, str]:
    """What these orders are called."""
    if not order_ids:
        return {}
    found = await conn.execute(
        select(orders.c.id, orders.c.number).where(orders.c.id.in_(order_ids))
    )
    return {row.id: row.number for row in found}


async def names(conn: AsyncConnection, user_ids: Collection[int]) -> dict[int, str]:
    """What these users are called."""
    if not user_ids:
        return {}
    found = await conn.execute(select(users.c.id, users.c.name).where(users.c.id.in_(user_ids)))
    return {row.id: row.name for row in found}


async def _tasks(conn: AsyncConnection, order_id: int, letter_ids: list[int]) -> list[Row]:
    of_order = and_(tasks.c.task == Task.PROCESS_ORDERS, tasks.c.ref_id == order_id)
    of_letters = and_(tasks.c.task == Task.SEND_NOTIFICATIONS, tasks.c.ref_id.in_(letter_ids))
    found = await conn.execute(select(tasks).where(or_(of_order, of_letters)).order_by(tasks.c.id))
    return [Row(**{**row._mapping, "task": Task(row.task)}) for row in found]
