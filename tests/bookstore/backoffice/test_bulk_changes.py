import pytest
from sqlalchemy import select, update

from bookstore.backoffice import audit_report, bulk_changes
from bookstore.backoffice.bulk_changes import BulkField, BulkOutcome
from bookstore.catalogue import books, categories
from bookstore.database.tables import books as table
from bookstore.database.tables import orders as order_rows
from bookstore.errors import Invalid
from bookstore.orders import State
from tests.factories import NOON, add_book, add_order, add_user, create_book

ALL = select(table.c.id)


@pytest.mark.parametrize(
    ("typed", "cents"),
    [
        ("12.90", 1290),
        ("12,9", 1290),
        ("+5%", 1050),
        ("-10 %", 900),
        ("+0.5%", 1005),
        ("+1.50", 1150),
        ("- 1", 900),
        ("0", 0),
    ],
)
def test_a_price_is_set_raised_or_lowered(typed, cents):
    assert bulk_changes.price_rule(typed)(1000) == cents


@pytest.mark.parametrize("typed", ["", "5%", "many", "1e3", "+-5", "12.999", "9" * 20, "٣"])
def test_a_malformed_price_rule_is_refused(typed):
    with pytest.raises(Invalid):
        bulk_changes.price_rule(typed)


def test_half_a_cent_is_rounded_up():
    assert bulk_changes.price_rule("+5%")(1010) == 1061  # 1060.5


async def run_to_end(step, conn, plan_id):
    user_id = (await bulk_changes.get(conn, plan_id)).user_id
    while await step(conn, plan_id, user_id=user_id, now=NOON, batch_size=2):
        pass
    return await bulk_changes.get(conn, plan_id)


@pytest.fixture
async def staff(conn):
    return await add_user(conn)


@pytest.fixture
async def five_books(conn):
    return [await create_book(conn, price_cents=1000 + index) for index in range(5)]


async def prices(conn, five_books):
    return [(await books.get(conn, book.id)).price_cents for book in five_books]


async def test_prices_change_as_planned_and_can_be_undone(conn, five_books, staff):
    plan_id = await bulk_changes.plan_prices(conn, ALL, "+10%", user_id=staff, now=NOON)
    assert await prices(conn, five_books) == [1000, 1001, 1002, 1003, 1004]

    plan = await run_to_end(bulk_changes.apply, conn, plan_id)
    assert await prices(conn, five_books) == [1100, 1101, 1102, 1103, 1104]
    assert plan.number(BulkOutcome.DONE) == 5
    assert plan.applied_at == NOON

    again = await run_to_end(bulk_changes.apply, conn, plan_id)
    assert again.number(BulkOutcome.DONE) == 5
    assert (await books.get(conn, five_books[0].id)).version == 2

    plan = await run_to_end(bulk_changes.undo, conn, plan_id)
    assert await prices(conn, five_books) == [1000, 1001, 1002, 1003, 1004]
    assert (plan.number(BulkOutcome.UNDONE), plan.undone_at) == (5, NOON)
    entries = (
        await audit_report.AUDIT.find(
            conn, audit_report.AuditQuery(object_id=str(five_books[0].id))
        )
    ).items
    assert [change.changes.get("price_cents") for change in entries[:2]] == [
        [1100, 1000],
        [1000, 1100],
    ]


async def test_books_that_were_changed_meanwhile_are_skipped(conn, five_books, staff):
    first, second, *_ = five_books
    plan_id = await bulk_changes.plan_prices(conn, ALL, "9.90", user_id=staff, now=NOON)
    await books.change(conn, first.id, 1, {"price_cents": 5}, user_id=None, now=NOON)

    plan = await run_to_end(bulk_changes.apply, conn, plan_id)
    assert plan.number(BulkOutcome.SKIPPED) == 1
    await books.change(conn, second.id, 2, {"price_cents": 7}, user_id=None, now=NOON)
    plan = await run_to_end(bulk_changes.undo, conn, plan_id)

    assert plan.number(BulkOutcome.UNDO_SKIPPED) == 1
    assert await prices(conn, five_books) == [5, 7, 1002, 1003, 1004]


async def test_a_negative_price_is_refused(conn, five_books, staff):
    with pytest.raises(Invalid, match="5 of these prices"):
        await bulk_changes.plan_prices(conn, ALL, "-20", user_id=staff, now=NOON)


async def test_a_plan_without_changes_is_refused(conn, five_books, staff):
    one = ALL.where(table.c.id == five_books[0].id)

    with pytest.raises(Invalid, match="None of these books"):
        await bulk_changes.plan_prices(conn, one, "10", user_id=staff, now=NOON)
    with pytest.raises(Invalid, match="None of these books"):
        await bulk_changes.plan_prices(
            conn, ALL.where(table.c.id < 0), "1", user_id=staff, now=NOON
        )


async def test_books_are_added_to_a_category_and_removed_again(conn, five_books, staff):
    for name in ("Poetry", "Drama"):
        await categories.create(conn, name, user_id=None, now=NOON)
    first = five_books[0]
    await books.change(conn, first.id, 1, {"categories": ["drama"]}, user_id=None, now=NOON)

    async def slugs():
        found = [(await books.get(conn, book.id)).categories for book in five_books]
        return [[each.slug for each in refs] for refs in found]

    plan_id = await bulk_changes.plan_category(
        conn, ALL, BulkField.ADD_CATEGORY, "poetry", user_id=staff, now=NOON
    )
    await run_to_end(bulk_changes.apply, conn, plan_id)
    assert await slugs() == [["drama", "poetry"], *[["poetry"]] * 4]
    out_id = await bulk_changes.plan_category(
        conn, ALL, BulkField.REMOVE_CATEGORY, "drama", user_id=staff, now=NOON
    )
    plan = await run_to_end(bulk_changes.apply, conn, out_id)
    assert len(plan.changes) == 1
    assert await slugs() == [["poetry"]] * 5
    await run_to_end(bulk_changes.undo, conn, out_id)
    assert await slugs() == [["drama", "poetry"], *[["poetry"]] * 4]
    await run_to_end(bulk_changes.undo, conn, plan_id)
    # The first book was changed by the second plan, so undoing the first plan skips it.
    assert await slugs() == [["drama", "poetry"], *[[]] * 4]


async def test_an_unknown_category_is_refused(conn, five_books, staff):
    with pytest.raises(Invalid, match="no such category"):
        await bulk_changes.plan_category(
            conn, ALL, BulkField.ADD_CATEGORY, "none", user_id=staff, now=NOON
        )


async def test_orders_with_a_book_before_its_day_are_not_shipped(conn, staff):
    dune, emma = await add_book(conn), await add_book(conn)
    early = await add_order(conn, {dune: 1}, number="0000-TEST", status="packed")
    await add_order(conn, {emma: 1}, number="0001-TEST", status="packed")
    chosen = select(order_rows.c.id)
    plan_id = await bulk_changes.plan_moves(conn, chosen, State.SHIPPED, user_id=staff, now=NOON)
    await conn.execute(update(table).where(table.c.id == dune).values(on_sale_from="2099"))

    plan = await run_to_end(bulk_changes.apply, conn, plan_id)

    assert (plan.number(BulkOutcome.DONE), plan.number(BulkOutcome.SKIPPED)) == (1, 1)
    rows = await conn.execute(select(order_rows.c.id, order_rows.c.status))
    assert [row.id for row in rows if row.status == "packed"] == [early]
