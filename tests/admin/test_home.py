"""The home page: totals, bar charts and open work."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event

from admin import home_charts
from bookstore.catalogue import stock
from bookstore.regional import shop_time
from bookstore.users.permissions import Role
from tests.admin.conftest import read
from tests.factories import NOON, add_book, add_order, add_user

#: Limit of queries for every page of the dashboard, whatever data it shows.
MAX_QUERIES = 12


async def test_a_day_is_compared_with_the_same_day_a_week_ago(database):
    async with database() as conn:
        dune = await add_book(conn)
        for at, status, cents in (
            (NOON - timedelta(minutes=5), "confirmed", 2000),
            (NOON - timedelta(hours=2), "placed", None),
            (NOON - timedelta(hours=2), "cancelled", 5000),
            (NOON - timedelta(days=7, hours=1), "delivered", 1000),
            (NOON - timedelta(days=7) + timedelta(hours=3), "delivered", 9000),
            (NOON - timedelta(days=1), "delivered", 7000),
        ):
            await add_order(conn, {dune: 1}, placed_at=at, status=status, total_cents=cents)

        day = await home_charts.load(conn, 1, now=NOON)

    assert (day.orders.now, day.orders.before) == (3, 1)
    assert (day.ordered_cents.now, day.ordered_cents.before) == (2000, 1000)
    assert day.average_cents.now == 2000
    assert sum(bar.now for bar in day.bars) == 3
    # The chart shows all of the day last week; the totals include it only up to the same time.
    assert sum(bar.before for bar in day.bars) == 2
    assert [bar.current for bar in day.bars].count(True) == 1


async def test_only_paid_orders_count_as_paid(database):
    async with database() as conn:
        dune = await add_book(conn)
        for payment, status in (
            ("paid", "shipped"),
            ("unpaid", "confirmed"),
            ("paid", "cancelled"),
        ):
            await add_order(
                conn,
                {dune: 1},
                placed_at=NOON,
                status=status,
                payment_status=payment,
                total_cents=1000,
            )
        day = await home_charts.load(conn, 1, now=NOON)

    assert (day.orders.now, day.ordered_cents.now, day.paid_cents.now) == (3, 2000, 1000)
    assert day.average_cents.now == 1000


@pytest.mark.parametrize(
    ("zone", "minutes"),
    [("Asia/Kolkata", 330), ("Asia/Kathmandu", 345), ("Australia/Eucla", 525), ("UTC", 0)],
)
async def test_orders_just_after_midnight_belong_to_the_new_day(database, zone, minutes):
    shop_time.set_zone(zone)
    midnight = datetime(2026, 3, 21, tzinfo=UTC) - timedelta(minutes=minutes)
    async with database() as conn:
        dune = await add_book(conn)
        for seconds in (-1, 0, 60):
            await add_order(
                conn,
                {dune: 1},
                placed_at=midnight + timedelta(seconds=seconds),
                status="confirmed",
                total_cents=1000,
            )
        day = await home_charts.load(conn, 1, now=midnight + timedelta(hours=1))
        week = await home_charts.load(conn, 7, now=midnight + timedelta(hours=1))
    shop_time.set_zone("")

    assert (day.orders.now, day.ordered_cents.now) == (2, 2000)
    assert [bar.now for bar in week.bars][-2:] == [1, 2]


@pytest.mark.parametrize("days", [7, 30])
async def test_a_period_has_a_bar_for_each_day(database, days):
    async with database() as conn:
        dune = await add_book(conn)
        for back in range(2 * days):
            at = NOON - timedelta(days=back, minutes=1)
            await add_order(conn, {dune: 1}, placed_at=at, status="shipped", total_cents=100)

        period = await home_charts.load(conn, days, now=NOON)

    assert (period.orders.now, period.orders.before) == (days, days)
    assert [bar.now for bar in period.bars] == [1] * days
    assert [bar.before for bar in period.bars] == [1] * days


async def test_only_new_users_of_the_period_are_counted(database):
    async with database() as conn:
        await add_user(conn)

        day = await home_charts.load(conn, 1, now=NOON + timedelta(minutes=1))
        later = await home_charts.load(conn, 1, now=NOON + timedelta(days=1))

    assert day.new_users.now == 1
    assert later.new_users.now == 0


async def test_the_home_page_shows_open_work(visitor, database):
    async with database() as conn:
        dune = await add_book(conn, stock=2)
        await add_order(conn, {dune: 1}, status="confirmed", number="7Q4M-XK2P")
        await add_order(conn, {dune: 1}, status="packed")
    clerk, editor = await visitor(Role.CLERK), await visitor(Role.EDITOR)

    clerk_page = await read(clerk, "/admin")
    editor_page = await read(editor, "/admin")

    assert "1 to pack" in clerk_page.text
    assert "/admin/orders/7Q4M-XK2P" in clerk_page.links
    assert "1 book with low stock" in editor_page.text
    assert "to pack" not in editor_page.text
    assert "Revenue" not in editor_page.text


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/orders?status=confirmed",
        "/orders/7Q4M-0007",
        "/books",
        "/books?view=low",
        "/books/new",
        "/orders?q=dune&status=unpaid&since=2026-01-01",
        "/orders/slips?number=7Q4M-0001&number=7Q4M-0002",
        "/books?q=dune&price_from=5",
        "/books/1/stock",
        "/books/bulk/1",
        "/authors",
        "/authors/1",
        "/categories",
        "/users",
        "/users/1",
        "/notifications?email=1",
        "/queues?task=1",
        "/notifications?q=mira&email=1",
        "/audit?user=1",
        "/imports",
        "/queues?state=waiting&sort=-tries",
        "/orders?sort=-payment",
        "/books/1/stock?sort=quantity",
    ],
)
async def test_a_page_runs_at_most_a_dozen_queries(visitor, database, path):
    client = await visitor(Role.ADMIN)
    async with database() as conn:
        books = [await add_book(conn, stock=2) for _ in range(30)]
        user_id = await add_user(conn)
        for number in range(30):
            quantities = dict.fromkeys(books[:5], 1)
            await add_order(
                conn, quantities, number=f"7Q4M-{number:04}", user_id=user_id, status="confirmed"
            )
        await stock.move(conn, books[0], -1, stock.StockReason.COUNT, now=NOON)
    statements = []

    def record(_conn, _cursor, statement, *_):
        statements.append(statement)

    # Listen on all engines, because read-only transactions use a separate one.
    event.listen(Engine, "before_cursor_execute", record)
    page = await read(client, f"/admin{path}")
    event.remove(Engine, "before_cursor_execute", record)

    queries = [it for it in statements if it.lstrip().upper().startswith(("SELECT", "WITH"))]
    assert page.status in (200, 404)
    assert 0 < len(queries) <= MAX_QUERIES, queries
