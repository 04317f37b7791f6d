"""What happened, as staff read it: around one order, and in the audit."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Select, and_, case, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import records
from bookstore.notifications import Status
from bookstore.paging import Page, decode, encode
from bookstore.tables import (
    audit_log,
    books,
    notifications,
    order_events,
    orders,
    stock_movements,
    tasks,
    users,
)
from bookstore.tasks import Row, Task


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
class Trail:
    """All that happened around one order; `tasks` is what is still to be done for it."""

    steps: list[Step]
    moved: list[Moved]
    letters: list[Posted]
    tasks: list[Row]


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
            order_events.c.worker,
            order_events.c.waited_ms,
            order_events.c.worked_ms,
            users.c.name.label("staff"),
        )
        .outerjoin(users, users.c.id == _STAFF_ID)
        .where(order_events.c.order_id == order_id)
        .order_by(order_events.c.seq)
    )
    moved = await conn.execute(
        select(stock_movements.c.created_at.label("at"), books.c.title, stock_movements.c.delta)
        .join(books, books.c.id == stock_movements.c.book_id)
        .where(stock_movements.c.order_id == order_id)
        .order_by(stock_movements.c.id)
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
    return Trail(
        [Step(**row._mapping) for row in steps],
        [Moved(**row._mapping) for row in moved],
        letters,
        await _tasks(conn, order_id, [letter.id for letter in letters]),
    )


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


async def audit(
    conn: AsyncConnection,
    *,
    object_type: str | None = None,
    object_id: str | None = None,
    user_id: int | None = None,
    cursor: str | None = None,
    limit: int = 25,
) -> Page[Change]:
    """Who changed what, the newest first.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    query: Select[Any] = select(audit_log, users.c.name.label("user_name")).outerjoin_from(
        audit_log, users, users.c.id == audit_log.c.user_id
    )
    if object_type:
        query = query.where(audit_log.c.object_type == object_type)
    if object_id:
        query = query.where(audit_log.c.object_id == object_id)
    if user_id is not None:
        query = query.where(audit_log.c.user_id == user_id)
    if cursor is not None:
        last_id = min(decode(cursor, [int])[0], records.LARGEST_ID)
        query = query.where(audit_log.c.id < last_id)
    query = query.order_by(audit_log.c.id.desc()).limit(limit + 1)
    found = [Change(**row._mapping) for row in await conn.execute(query)]
    more = len(found) > limit
    return Page(found[:limit], encode(found[limit - 1].id) if more else None)


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
