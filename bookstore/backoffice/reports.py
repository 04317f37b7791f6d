"""What staff look at: counts and sums, each in one statement.

Nothing here changes anything, and nothing here decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from sqlalchemy import Label, String, case, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import (
    heartbeats,
    moment,
    notifications,
    order_events,
    orders,
    tasks,
    users,
)
from bookstore.notifications import Status
from bookstore.orders import State
from bookstore.payments import Payment
from bookstore.tasks.outbox import Task

#: Invoices are paid within two days, or somebody should ask.
PATIENCE = timedelta(days=2)
#: More than a store with eight workers does in a minute is not counted.
_LOOKED_AT = 5000
#: Orders that nobody pays for.
_WITHOUT_MONEY = (State.REJECTED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Duties:
    """What waits for staff, in numbers that stand on every page."""

    to_pack: int
    to_ship: int
    letters_failed: int
    dead_tasks: int


@dataclass(frozen=True, slots=True)
class Worries:
    """What else may need a hand; `unpaid` counts orders that have waited for `PATIENCE`."""

    oldest_to_pack_at: datetime | None
    unpaid: int
    letters_in_doubt: int
    tasks_waiting: int
    oldest_task_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sales:
    """What was ordered within the hour from `at`, and the money for what is sent."""

    at: datetime
    orders: int
    revenue_cents: int


@dataclass(frozen=True, slots=True)
class Letters:
    """How many letters are where; `waiting` are queued or being sent."""

    all: int
    waiting: int
    failed: int
    in_doubt: int


@dataclass(frozen=True, slots=True)
class Queue:
    """The unfinished work of one kind; `tried` has been started at least once."""

    task: str
    waiting: int
    tried: int
    dead: int
    oldest_at: datetime | None


async def duties(conn: AsyncConnection) -> Duties:
    """What waits for staff."""
    found = await conn.execute(
        select(
            _count("to_pack", orders.c.status == State.CONFIRMED),
            _count("to_ship", orders.c.status == State.PACKED),
            _count("letters_failed", notifications.c.status == Status.FAILED),
            _count("dead_tasks", tasks.c.dead_at.is_not(None)),
        )
    )
    return Duties(**found.one()._mapping)


async def worries(conn: AsyncConnection, *, now: datetime) -> Worries:
    """What else may need a hand."""
    to_pack = orders.c.status == State.CONFIRMED
    oldest = select(orders.c.placed_at).where(to_pack).order_by(orders.c.id).limit(1)
    waiting = tasks.c.dead_at.is_(None)
    found = await conn.execute(
        select(
            oldest.scalar_subquery().label("oldest_to_pack_at"),
            _count(
                "unpaid",
                orders.c.payment_status == Payment.UNPAID,
                orders.c.status.not_in([*_WITHOUT_MONEY, State.PLACED]),
                orders.c.placed_at < now - PATIENCE,
            ),
            _count("letters_in_doubt", notifications.c.in_doubt == true()),
            _count("tasks_waiting", waiting),
            select(func.min(tasks.c.created_at))
            .where(waiting)
            .scalar_subquery()
            .label("oldest_task_at"),
        )
    )
    return Worries(**found.one()._mapping)


async def sales(conn: AsyncConnection, *, since: datetime) -> list[Sales]:
    """What was ordered since then, by the hour in UTC, oldest first."""
    # Both databases write a moment as 2026-03-21 12:34:56.789012.
    hour = func.substr(orders.c.placed_at, 1, 13, type_=String)
    taken = case((orders.c.status.not_in(_WITHOUT_MONEY), orders.c.total_cents), else_=0)
    found = await conn.execute(
        select(hour.label("hour"), func.count(), func.sum(taken))
        .where(orders.c.placed_at >= since)
        .group_by(hour)
        .order_by(hour)
    )
    return [Sales(moment(text), number, int(cents or 0)) for text, number, cents in found]


async def new_users(conn: AsyncConnection, moments: Sequence[datetime]) -> list[int]:
    """How many accounts were opened between each moment and the next."""
    counts = [
        _sum(str(place), users.c.created_at.between(start, end))
        for place, (start, end) in enumerate(pairwise(moments))
    ]
    found = await conn.execute(select(*counts).where(users.c.created_at >= moments[0]))
    return [int(number or 0) for number in found.one()]


async def letters(conn: AsyncConnection) -> Letters:
    """How many letters are where, each number from its own index."""
    found = await conn.execute(
        select(
            select(func.count()).select_from(notifications).scalar_subquery().label("all"),
            _count("waiting", notifications.c.status.in_([Status.QUEUED, Status.SENDING])),
            _count("failed", notifications.c.status == Status.FAILED),
            _count("in_doubt", notifications.c.in_doubt == true()),
        )
    )
    return Letters(**found.one()._mapping)


async def queues(conn: AsyncConnection) -> list[Queue]:
    """The unfinished work, by kind; kinds that have none are there too."""
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
    kinds = {kind: Queue(kind, 0, 0, 0, None) for kind in map(str, Task)}
    for row in found:
        kinds[row.task] = Queue(
            row.task, int(row.waiting), int(row.tried), int(row.dead), row.oldest_at
        )
    return list(kinds.values())


async def done_lately(conn: AsyncConnection, *, now: datetime) -> dict[str, int]:
    """How much of each kind of work was done within the last minute, as far as it can be told.

    Of the latest `_LOOKED_AT` rows: what is done leaves no task behind.
    """
    since = now - timedelta(minutes=1)
    steps = (
        select(order_events.c.at, order_events.c.worker)
        .order_by(order_events.c.id.desc())
        .limit(_LOOKED_AT)
        .subquery()
    )
    posted = (
        select(notifications.c.sent_at)
        .order_by(notifications.c.id.desc())
        .limit(_LOOKED_AT)
        .subquery()
    )
    found = await conn.execute(
        select(
            select(func.count())
            .where(steps.c.at >= since, steps.c.worker.is_not(None))
            .scalar_subquery(),
            select(func.count()).where(posted.c.sent_at >= since).scalar_subquery(),
        )
    )
    orders_done, letters_done = found.one()
    return {Task.PROCESS_ORDERS: orders_done, Task.SEND_NOTIFICATIONS: letters_done}


async def signs_of_life(conn: AsyncConnection) -> list[tuple[str, datetime]]:
    """Who relays work, and when each was last alive; the liveliest first."""
    found = await conn.execute(
        select(heartbeats.c.name, heartbeats.c.beat_at).order_by(heartbeats.c.beat_at.desc())
    )
    return [(row.name, row.beat_at) for row in found]


def _count(name: str, *conditions: Any) -> Label[int]:
    return select(func.count()).where(*conditions).scalar_subquery().label(name)


def _sum(name: str, condition: Any) -> Label[int]:
    return func.sum(case((condition, 1), else_=0)).label(name)
