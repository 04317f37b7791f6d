"""The figures of the home page: a period and the previous one, in the store's time zone."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.backoffice import reports
from bookstore.backoffice.reports import Sales

#: The periods to choose from: number of days and label.
PERIODS = {1: "Today", 7: "7 days", 30: "30 days"}
#: The chart of a day always shows these hours, and others if they have orders.
_BUSINESS_HOURS = range(8, 20)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number for the period, and for the same part of the previous period."""

    now: int
    before: int

    @property
    def change(self) -> int:
        return self.now - self.before


@dataclass(frozen=True, slots=True)
class Bar:
    """The orders of an hour or day, and of the same one in the previous period."""

    label: str
    now: int
    before: int
    #: The current hour or day.
    current: bool
    future: bool


@dataclass(frozen=True, slots=True)
class Figures:
    days: int
    orders: Figure
    revenue_cents: Figure
    average_cents: Figure
    new_users: Figure
    bars: list[Bar]


async def load(conn: AsyncConnection, days: int, *, now: datetime) -> Figures:
    """The figures of the last `days` days, including today; in two statements."""
    start, before, before_end = _bounds(days, now)
    sales = await reports.sales(conn, since=before)
    users_before, _, users_now = await reports.new_users(conn, [before, before_end, start, now])
    past = [sale for sale in sales if sale.at < before_end]
    present = [sale for sale in sales if sale.at >= start]
    orders = Figure(_orders(present), _orders(past))
    revenue = Figure(_revenue(present), _revenue(past))
    average = Figure(revenue.now // max(orders.now, 1), revenue.before // max(orders.before, 1))
    bars = _by_hour(sales, now) if days == 1 else _by_day(sales, days, now)
    return Figures(days, orders, revenue, average, Figure(users_now, users_before), bars)


def _bounds(days: int, now: datetime) -> tuple[datetime, datetime, datetime]:
    """The start of the period, the start of the previous one, and the end of its compared part.

    Today is compared with the same weekday of the last week, because sales differ by weekday.
    The current hour counts as a whole in both periods.
    """
    today = now.astimezone().date()
    first = today - timedelta(days=days - 1)
    back = timedelta(days=max(days, 7))
    start, before = _midnight(first), _midnight(first - back)
    return start, before, before + (now - start)


def _by_hour(sales: Sequence[Sales], now: datetime) -> list[Bar]:
    local = now.astimezone()
    today, before = local.date(), local.date() - timedelta(days=7)
    counted = _count_orders(sales, lambda at: (at.date(), at.hour))
    hours = {hour for day, hour in counted if day in (today, before)} | set(_BUSINESS_HOURS)
    return [
        Bar(
            label=str(hour),
            now=counted[(today, hour)],
            before=counted[(before, hour)],
            current=hour == local.hour,
            future=hour > local.hour,
        )
        for hour in range(min(hours), max(hours) + 1)
    ]


def _by_day(sales: Sequence[Sales], days: int, now: datetime) -> list[Bar]:
    today = now.astimezone().date()
    counted = _count_orders(sales, lambda at: (at.date(), 0))
    return [
        Bar(
            label=f"{day:%a}" if days == 7 else str(day.day),
            now=counted[(day, 0)],
            before=counted[(day - timedelta(days=days), 0)],
            current=day == today,
            future=False,
        )
        for day in (today - timedelta(days=back) for back in reversed(range(days)))
    ]


def _count_orders(
    sales: Sequence[Sales], key_of: Callable[[datetime], tuple[date, int]]
) -> Counter[tuple[date, int]]:
    counted: Counter[tuple[date, int]] = Counter()
    for sale in sales:
        counted[key_of(sale.at.astimezone())] += sale.orders
    return counted


def _orders(sales: Sequence[Sales]) -> int:
    return sum(sale.orders for sale in sales)


def _revenue(sales: Sequence[Sales]) -> int:
    return sum(sale.revenue_cents for sale in sales)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min).astimezone()
