"""What staff look at: counts and sums, each in one statement.

Nothing here changes anything, and nothing here decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from sqlalchemy import Label, String, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import records
from bookstore.notifications import Status
from bookstore.orders import Payment, State
from bookstore.paging import Page, decode, encode
from bookstore.records import Book
from bookstore.tables import (
    book_stock,
    books,
    heartbeats,
    notifications,
    orders,
    tasks,
    users,
)
from bookstore.tasks import Task

#: A book with this few copies is soon sold out.
LOW_STOCK = 3
#: Invoices are paid within two days, or somebody should ask.
PATIENCE = timedelta(days=2)
#: Orders that nobody pays for.
_WITHOUT_MONEY = (State.REJECTED, State.CANCELLED)


class Shelf(StrEnum):
    """Views of the stock."""

    LOW = "low"
    SOLD_OUT = "sold-out"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Duties:
    """What waits for staff, in numbers that stand on every page."""

    to_pack: int
    to_ship: int
    letters_failed: int
    tasks_parked: int


@dataclass(frozen=True, slots=True)
class Worries:
    """What else may need a hand; `unpaid` counts orders that have waited for `PATIENCE`."""

    oldest_to_pack_at: datetime | None
    unpaid: int
    letters_in_doubt: int
    tasks_waiting: int
    oldest_task_at: datetime | None


@dataclass(frozen=True, slots=True)
class Stock:
    """How many books there are in each view; `low` are not sold out."""

    all: int
    low: int
    sold_out: int
    withdrawn: int


@dataclass(frozen=True, slots=True)
class Sales:
    """What was ordered within the hour from `at`, and the money for what is sent."""

    at: datetime
    orders: int
    taken_cents: int


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
    parked: int
    oldest_at: datetime | None


async def duties(conn: AsyncConnection) -> Duties:
    """What waits for staff."""
    found = await conn.execute(
        select(
            _count("to_pack", orders.c.status == State.CONFIRMED),
            _count("to_ship", orders.c.status == State.PACKED),
            _count("letters_failed", notifications.c.status == Status.FAILED),
            _count("tasks_parked", tasks.c.parked_at.is_not(None)),
        )
    )
    return Duties(**found.one()._mapping)


async def worries(conn: AsyncConnection, *, now: datetime) -> Worries:
    """What else may need a hand."""
    to_pack = orders.c.status == State.CONFIRMED
    oldest = select(orders.c.placed_at).where(to_pack).order_by(orders.c.id).limit(1)
    waiting = tasks.c.parked_at.is_(None)
    found = await conn.execute(
        select(
            oldest.scalar_subquery().label("oldest_to_pack_at"),
            _count(
                "unpaid",
                orders.c.payment_status == Payment.UNPAID,
                orders.c.status.not_in([*_WITHOUT_MONEY, State.PLACED]),
                orders.c.placed_at < now - PATIENCE,
            ),
            _count("letters_in_doubt", notifications.c.in_doubt),
            _count("tasks_waiting", waiting),
            select(func.min(tasks.c.created_at))
            .where(waiting)
            .scalar_subquery()
            .label("oldest_task_at"),
        )
    )
    return Worries(**found.one()._mapping)


async def stock(conn: AsyncConnection) -> Stock:
    """How many books there are in each view of the stock."""
    sold = books.c.withdrawn_at.is_(None)
    found = await conn.execute(
        select(
            _sum("all", sold),
            _sum("low", sold & book_stock.c.stock.between(1, LOW_STOCK)),
            _sum("sold_out", sold & (book_stock.c.stock == 0)),
            _sum("withdrawn", books.c.withdrawn_at.is_not(None)),
        ).join_from(books, book_stock, book_stock.c.book_id == books.c.id)
    )
    return Stock(**{name: int(number or 0) for name, number in found.one()._mapping.items()})


async def shelf(
    conn: AsyncConnection, view: Shelf, *, cursor: str | None = None, limit: int = 25
) -> Page[Book]:
    """The books of a view, the scarcest first.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    query = records.select_books()
    if view is Shelf.WITHDRAWN:
        query = query.where(books.c.withdrawn_at.is_not(None))
    else:
        few = book_stock.c.stock.between(1, LOW_STOCK)
        query = query.where(
            books.c.withdrawn_at.is_(None), few if view is Shelf.LOW else book_stock.c.stock == 0
        )
    if cursor is not None:
        copies, book_id = decode(cursor, [int, int])
        copies, book_id = _bounded(copies), _bounded(book_id)
        tied = (book_stock.c.stock == copies) & (books.c.id > book_id)
        query = query.where((book_stock.c.stock > copies) | tied)
    query = query.order_by(book_stock.c.stock, books.c.id).limit(limit + 1)
    rows = (await conn.execute(query)).all()
    more, rows = len(rows) > limit, rows[:limit]
    following = encode(rows[-1].stock, rows[-1].id) if more else None
    return Page(await records.load(conn, rows), following)


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
    return [Sales(_moment(text), number, int(cents or 0)) for text, number, cents in found]


async def new_users(conn: AsyncConnection, moments: Sequence[datetime]) -> list[int]:
    """How many accounts were opened between each moment and the next."""
    counts = [
        _sum(str(place), users.c.created_at.between(start, end))
        for place, (start, end) in enumerate(pairwise(moments))
    ]
    found = await conn.execute(select(*counts).where(users.c.created_at >= moments[0]))
    return [int(number or 0) for number in found.one()]


async def letters(conn: AsyncConnection) -> Letters:
    """How many letters are where."""
    found = await conn.execute(
        select(
            func.count().label("all"),
            _sum("waiting", notifications.c.status.in_([Status.QUEUED, Status.SENDING])),
            _sum("failed", notifications.c.status == Status.FAILED),
            _sum("in_doubt", notifications.c.in_doubt),
        ).select_from(notifications)
    )
    return Letters(**{name: int(number or 0) for name, number in found.one()._mapping.items()})


async def queues(conn: AsyncConnection) -> list[Queue]:
    """The unfinished work, by kind; kinds that have none are there too."""
    waiting = tasks.c.parked_at.is_(None)
    found = await conn.execute(
        select(
            tasks.c.task,
            _sum("waiting", waiting & (tasks.c.attempts == 0)),
            _sum("tried", waiting & (tasks.c.attempts > 0)),
            _sum("parked", tasks.c.parked_at.is_not(None)),
            func.min(case((waiting, tasks.c.created_at))).label("oldest_at"),
        ).group_by(tasks.c.task)
    )
    kinds = {kind: Queue(kind, 0, 0, 0, None) for kind in map(str, Task)}
    for row in found:
        kinds[row.task] = Queue(
            row.task, int(row.waiting), int(row.tried), int(row.parked), row.oldest_at
        )
    return list(kinds.values())


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


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _bounded(value: int) -> int:
    # SQLite cannot even be asked for more.
    return max(-records.LARGEST_ID, min(value, records.LARGEST_ID))
