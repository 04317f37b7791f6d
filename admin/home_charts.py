"""The figures of the home page: a period beside the one before it, in the store's own time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.backoffice import reports
from bookstore.backoffice.reports import Sales

#: The periods to choose from, in days.
PERIODS = {1: "Today", 7: "7 days", 30: "30 days"}
#: Hours that the chart of a day always shows; others when something was ordered in them.
_OPEN = range(8, 20)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of the period and of as much of the one before it."""

    now: int
    before: int

    @property
    def change(self) -> int:
        return self.now - self.before


@dataclass(frozen=True, slots=True)
class Bar:
    """The orders of an hour or a day, and of the same one a period before."""

    word: str
    now: int
    before: int
    #: Time goes on in this one.
    current: bool
    to_come: bool


@dataclass(frozen=True, slots=True)
class Figures:
    days: int
    orders: Figure
    revenue_cents: Figure
    average_cents: Figure
    new_users: Figure
    bars: list[Bar]


async def load(conn: AsyncConnection, days: int, *, now: datetime) -> Figures:
    """The figures of the last so many days, today included; in two statements."""
    start, before, as_far = _bounds(days, now)
    sales = await reports.sales(conn, since=before)
    users_before, _, users_now = await reports.new_users(conn, [before, as_far, start, now])
    past = [sale for sale in sales if sale.at < as_far]
    present = [sale for sale in sales if sale.at >= start]
    orders = Figure(_orders(present), _orders(past))
    taken = Figure(_taken(present), _taken(past))
    average = Figure(taken.now // max(orders.now, 1), taken.before // max(orders.before, 1))
    bars = _by_hour(sales, now) if days == 1 else _by_day(sales, days, now)
    return Figures(days, orders, taken, average, Figure(users_now, users_before), bars)


def _bounds(days: int, now: datetime) -> tuple[datetime, datetime, datetime]:
    """Where the period starts, where the one before does, and how far that is compared.

    Today is compared with the same day a week ago: a shop's Mondays are no Saturdays.
    The hour that has begun counts as a whole on both sides.
    """
    today = now.astimezone().date()
    first = today - timedelta(days=days - 1)
    back = timedelta(days=max(days, 7))
    start, before = _midnight(first), _midnight(first - back)
    return start, before, before + (now - start)


def _by_hour(sales: Sequence[Sales], now: datetime) -> list[Bar]:
    local = now.astimezone()
    today, before = local.date(), local.date() - timedelta(days=7)
    counted = _counted(sales, lambda at: (at.date(), at.hour))
    hours = {hour for day, hour in counted if day in (today, before)} | set(_OPEN)
    return [
        Bar(
            word=str(hour),
            now=counted.get((today, hour), 0),
            before=counted.get((before, hour), 0),
            current=hour == local.hour,
            to_come=hour > local.hour,
        )
        for hour in range(min(hours), max(hours) + 1)
    ]


def _by_day(sales: Sequence[Sales], days: int, now: datetime) -> list[Bar]:
    today = now.astimezone().date()
    counted = _counted(sales, lambda at: (at.date(), 0))
    return [
        Bar(
            word=f"{day:%a}" if days == 7 else str(day.day),
            now=counted.get((day, 0), 0),
            before=counted.get((day - timedelta(days=days), 0), 0),
            current=day == today,
            to_come=False,
        )
        for day in (today - timedelta(days=back) for back in reversed(range(days)))
    ]


def _counted(
    sales: Sequence[Sales], place: Callable[[datetime], tuple[date, int]]
) -> dict[tuple[date, int], int]:
    counted: dict[tuple[date, int], int] = {}
    for sale in sales:
        key = place(sale.at.astimezone())
        counted[key] = counted.get(key, 0) + sale.orders
    return counted


def _orders(sales: Sequence[Sales]) -> int:
    return sum(sale.orders for sale in sales)


def _taken(sales: Sequence[Sales]) -> int:
    return sum(sale.revenue_cents for sale in sales)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min).astimezone()
