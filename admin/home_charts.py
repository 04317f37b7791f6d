"""The figures of the home page: a period and the previous one, in the store's time zone."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.backoffice import reports
from bookstore.backoffice.reports import Sales
from bookstore.regional.shop_time import day_of, start_of
from bookstore.regional.shop_time import local as local_time

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
    #: The sum of all orders but rejected and cancelled ones, and what was paid of it.
    ordered_cents: Figure
    paid_cents: Figure
    #: Of the same orders.
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

    def figure(value: Callable[[Sales], int]) -> Figure:
        return Figure(sum(map(value, present)), sum(map(value, past)))

    orders, standing = figure(lambda it: it.orders), figure(lambda it: it.standing)
    ordered, paid = figure(lambda it: it.ordered_cents), figure(lambda it: it.paid_cents)
    average = Figure(ordered.now // max(standing.now, 1), ordered.before // max(standing.before, 1))
    bars = _by_hour(sales, now) if days == 1 else _by_day(sales, days, now)
    users = Figure(users_now, users_before)
    return Figures(days, orders, ordered, paid, average, users, bars)


def _bounds(days: int, now: datetime) -> tuple[datetime, datetime, datetime]:
    """The start of the period, the start of the previous one, and the end of its compared part.

    Today is compared with the same weekday of the last week, because sales differ by weekday.
    The current hour counts as a whole in both periods.
    """
    today = day_of(now)
    first = today - timedelta(days=days - 1)
    back = timedelta(days=max(days, 7))
    start, before = start_of(first), start_of(first - back)
    return start, before, before + (now - start)


def _by_hour(sales: Sequence[Sales], now: datetime) -> list[Bar]:
    local = local_time(now)
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
    today = day_of(now)
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
        counted[key_of(local_time(sale.at))] += sale.orders
    return counted
