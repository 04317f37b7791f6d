"""Counts and sums for the back office, each in one statement.  Read-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import Label, String, case, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import (
    heartbeats,
    notifications,
    order_events,
    orders,
    parse_utc,
    tasks,
    users,
)
from bookstore.notifications import EmailStatus
from bookstore.orders import State
from bookstore.payments import Payment
from bookstore.tasks.outbox import Task

#: Invoices should be paid within two days; staff see older unpaid orders as an alert.
UNPAID_AFTER = timedelta(days=2)
#: The most rows that `done_last_minute` reads: more than eight workers process in a minute.
_MAX_ROWS = 5000
#: Orders in these states are not expected to be paid.
_UNPAYABLE = (State.REJECTED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class ToDo:
    """The numbers of open tasks for staff, shown on every page."""

    to_pack: int
    to_ship: int
    emails_failed: int
    dead_tasks: int


@dataclass(frozen=True, slots=True)
class Alerts:
    """What else may need attention; `unpaid` counts orders that are older than `UNPAID_AFTER`."""

    oldest_to_pack_at: datetime | None
    unpaid: int
    emails_in_doubt: int
    tasks_waiting: int
    oldest_task_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sales:
    """Orders placed within a quarter of an hour from `at`.

    `standing` are those with a total that are neither rejected nor cancelled; their sum is
    `ordered_cents`, and `paid_cents` that of the paid ones.
    """

    at: datetime
    orders: int
    standing: int
    ordered_cents: int
    paid_cents: int


@dataclass(frozen=True, slots=True)
class EmailCounts:
    """The numbers of e-mails by status; `waiting` are queued or being sent."""

    all: int
    waiting: int
    failed: int
    in_doubt: int


@dataclass(frozen=True, slots=True)
class Queue:
    """The unfinished tasks of one kind.

    `waiting` have never been started, `tried` at least once, and `dead` will not be retried.
    """

    task: Task
    waiting: int
    tried: int
    dead: int
    oldest_at: datetime | None


async def to_do(conn: AsyncConnection) -> ToDo:
    """The numbers of open tasks for staff."""
    found = await conn.execute(
        select(
            _count("to_pack", orders.c.status == State.CONFIRMED),
            _count("to_ship", orders.c.status == State.PACKED),
            _count("emails_failed", notifications.c.status == EmailStatus.FAILED),
            _count("dead_tasks", tasks.c.dead_at.is_not(None)),
        )
    )
    return ToDo(**found.one()._mapping)


async def alerts(conn: AsyncConnection, *, now: datetime) -> Alerts:
    """What else may need attention."""
    to_pack = orders.c.status == State.CONFIRMED
    oldest = select(orders.c.placed_at).where(to_pack).order_by(orders.c.id).limit(1)
    waiting = tasks.c.dead_at.is_(None)
    found = await conn.execute(
        select(
            oldest.scalar_subquery().label("oldest_to_pack_at"),
            _count(
                "unpaid",
                orders.c.payment_status == Payment.UNPAID,
                orders.c.status.not_in([*_UNPAYABLE, State.PLACED]),
                orders.c.placed_at < now - UNPAID_AFTER,
            ),
            _count("emails_in_doubt", notifications.c.in_doubt == true()),
            _count("tasks_waiting", waiting),
            select(func.min(tasks.c.created_at))
            .where(waiting)
            .scalar_subquery()
            .label("oldest_task_at"),
        )
    )
    return Alerts(**found.one()._mapping)


async def sales(conn: AsyncConnection, *, since: datetime) -> list[Sales]:
    """Orders since then by quarters of an hour, the oldest first.

    Days begin at a quarter of an hour of UTC in every time zone, but not at a full hour.
    """
    # All databases format a datetime as 2026-03-21 12:34:56.789012.
    minute = func.substr(orders.c.placed_at, 15, 2, type_=String)
    quarter = case((minute < "15", "00"), (minute < "30", "15"), (minute < "45", "30"), else_="45")
    at = func.substr(orders.c.placed_at, 1, 14, type_=String).concat(quarter)
    stands = orders.c.status.not_in(_UNPAYABLE) & orders.c.total_cents.is_not(None)
    paid = orders.c.payment_status == Payment.PAID
    found = await conn.execute(
        select(
            at.label("at"),
            func.count(),
            func.sum(case((stands, 1), else_=0)),
            func.sum(case((stands, orders.c.total_cents), else_=0)),
            func.sum(case((stands & paid, orders.c.total_cents), else_=0)),
        )
        .where(orders.c.placed_at >= since)
        .group_by(at)
        .order_by(at)
    )
    return [
        Sales(parse_utc(text), *(int(value or 0) for value in numbers)) for text, *numbers in found
    ]


async def new_users(conn: AsyncConnection, moments: Sequence[datetime]) -> list[int]:
    """The number of accounts created between each two consecutive times."""
    counts = [
        _sum(str(place), users.c.created_at.between(start, end))
        for place, (start, end) in enumerate(pairwise(moments))
    ]
    found = await conn.execute(select(*counts).where(users.c.created_at >= moments[0]))
    return [int(number or 0) for number in found.one()]


async def email_counts(conn: AsyncConnection) -> EmailCounts:
    """The numbers of e-mails by status; each is counted in its own index."""
    found = await conn.execute(
        select(
            select(func.count()).select_from(notifications).scalar_subquery().label("all"),
            _count(
                "waiting", notifications.c.status.in_([EmailStatus.QUEUED, EmailStatus.SENDING])
            ),
            _count("failed", notifications.c.status == EmailStatus.FAILED),
            _count("in_doubt", notifications.c.in_doubt == true()),
        )
    )
    return EmailCounts(**found.one()._mapping)


async def queues(conn: AsyncConnection) -> list[Queue]:
    """The unfinished tasks of every kind, including kinds without any."""
    waiting = tasks.c.dead_at.is_(None)
    found = await conn.execute(
        select(
            tasks.c.task,
            _sum("waiting", waiting & (tasks.c.attempts == 0)),
            _sum("tried", waiting & (tasks.c.attempts > 0)),
            _sum("dead", tasks.c.dead_at.is_not(None)),
            func.min(case((waiting, tasks.c.created_at))).label("oldest_at"),
        ).group_by(tasks.c.task)
    )
    kinds: dict[str, Queue] = {task: Queue(task, 0, 0, 0, None) for task in Task}
    for row in found:
        kinds[row.task] = Queue(
            Task.stored(row.task), int(row.waiting), int(row.tried), int(row.dead), row.oldest_at
        )
    return list(kinds.values())


async def done_last_minute(conn: AsyncConnection, *, now: datetime) -> dict[str, int]:
    """The number of tasks of each kind that were done in the last minute, at most `_MAX_ROWS`.

    A finished task is deleted, so the numbers come from order events and sent e-mails.
    """
    since = now - timedelta(minutes=1)
    steps = (
        select(order_events.c.at, order_events.c.worker)
        .order_by(order_events.c.id.desc())
        .limit(_MAX_ROWS)
        .subquery()
    )
    sent = (
        select(notifications.c.sent_at)
        .order_by(notifications.c.id.desc())
        .limit(_MAX_ROWS)
        .subquery()
    )
    found = await conn.execute(
        select(
            select(func.count())
            .where(steps.c.at >= since, steps.c.worker.is_not(None))
            .scalar_subquery(),
            select(func.count()).where(sent.c.sent_at >= since).scalar_subquery(),
        )
    )
    orders_done, emails_done = found.one()
    return {Task.PROCESS_ORDERS: orders_done, Task.SEND_NOTIFICATIONS: emails_done}


async def relay_heartbeats(conn: AsyncConnection) -> list[tuple[str, datetime]]:
    """The name and last heartbeat of each relay process, the latest first."""
    found = await conn.execute(
        select(heartbeats.c.name, heartbeats.c.beat_at).order_by(heartbeats.c.beat_at.desc())
    )
    return [(row.name, row.beat_at) for row in found]


def _count(name: str, *conditions: Any) -> Label[int]:
    return select(func.count()).where(*conditions).scalar_subquery().label(name)


def _sum(name: str, condition: Any) -> Label[int]:
    return func.sum(case((condition, 1), else_=0)).label(name)
