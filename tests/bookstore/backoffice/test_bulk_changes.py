import pytest
from sqlalchemy import select

from bookstore.backoffice import audit_report, bulk_changes
from bookstore.backoffice.bulk_changes import Field, Outcome
from bookstore.catalogue import books, categories
from bookstore.database.tables import books as table
from bookstore.errors import Invalid
from tests.factories import NOON, add_user, create_book

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
def test_what_is_no_change_of_a_price_is_refused(typed):
    with pytest.raises(Invalid):
        bulk_changes.price_rule(typed)


def test_half_a_cent_goes_up():
    assert bulk_changes.price_rule("+5%")(1010) == 1061  # 1060.5


async def all_of(step, conn, plan_id):
    user_id = (await bulk_changes.get(conn, plan_id)).user_id
    while await step(conn, plan_id, user_id=user_id, now=NOON, at_once=2):
        pass
    return await bulk_changes.get(conn, plan_id)


@pytest.fixture
async def staff(conn):
    return await add_user(conn)


@pytest.fixture
async def shelf(conn):
    return [await create_book(conn, price_cents=1000 + place) for place in range(5)]


async def prices(conn, shelf):
    return [(await books.get(conn, book.id)).price_cents for book in shelf]


async def test_prices_change_as_planned_and_back(conn, shelf, staff):
    plan_id = await bulk_changes.plan_prices(conn, ALL, "+10%", user_id=staff, now=NOON)
    assert await prices(conn, shelf) == [1000, 1001, 1002, 1003, 1004]

    plan = await all_of(bulk_changes.carry_out, conn, plan_id)
    assert await prices(conn, shelf) == [1100, 1101, 1102, 1103, 1104]
    assert plan.number(Outcome.DONE) == 5
    assert plan.applied_at == NOON

    again = await all_of(bulk_changes.carry_out, conn, plan_id)
    assert again.number(Outcome.DONE) == 5
    assert (await books.get(conn, shelf[0].id)).version == 2

    plan = await all_of(bulk_changes.undo, conn, plan_id)
    assert await prices(conn, shelf) == [1000, 1001, 1002, 1003, 1004]
    assert (plan.number(Outcome.UNDONE), plan.undone_at) == (5, NOON)
    told = (await audit_report.audit(conn, audit_report.Asked(object_id=str(shelf[0].id)))).items
    assert [change.changes.get("price_cents") for change in told[:2]] == [
        [1100, 1000],
        [1000, 1100],
    ]


async def test_books_that_somebody_changed_meanwhile_are_left_alone(conn, shelf, staff):
    first, second, *_ = shelf
    plan_id = await bulk_changes.plan_prices(conn, ALL, "9.90", user_id=staff, now=NOON)
    await books.change(conn, first.id, 1, {"price_cents": 5}, user_id=None, now=NOON)

    plan = await all_of(bulk_changes.carry_out, conn, plan_id)
    assert plan.number(Outcome.OVERTAKEN) == 1
    await books.change(conn, second.id, 2, {"price_cents": 7}, user_id=None, now=NOON)
    plan = await all_of(bulk_changes.undo, conn, plan_id)

    assert plan.number(Outcome.KEPT) == 1
    assert await prices(conn, shelf) == [5, 7, 1002, 1003, 1004]


async def test_no_price_falls_below_nothing(conn, shelf, staff):
    with pytest.raises(Invalid, match="5 of these prices"):
        await bulk_changes.plan_prices(conn, ALL, "-20", user_id=staff, now=NOON)


async def test_what_changes_nothing_is_no_plan(conn, shelf, staff):
    one = ALL.where(table.c.id == shelf[0].id)

    with pytest.raises(Invalid, match="None of these books"):
        await bulk_changes.plan_prices(conn, one, "10", user_id=staff, now=NOON)
    with pytest.raises(Invalid, match="None of these books"):
        await bulk_changes.plan_prices(
            conn, ALL.where(table.c.id < 0), "1", user_id=staff, now=NOON
        )


async def test_books_go_into_a_category_and_come_out_again(conn, shelf, staff):
    for name in ("Poetry", "Drama"):
        await categories.create(conn, name, user_id=None, now=NOON)
    first = shelf[0]
    await books.change(conn, first.id, 1, {"categories": ["drama"]}, user_id=None, now=NOON)

    async def shelves():
        found = [(await books.get(conn, book.id)).categories for book in shelf]
        return [[each.slug for each in refs] for refs in found]

    plan_id = await bulk_changes.plan_category(
        conn, ALL, Field.ADD_CATEGORY, "poetry", user_id=staff, now=NOON
    )
    await all_of(bulk_changes.carry_out, conn, plan_id)
    assert await shelves() == [["drama", "poetry"], *[["poetry"]] * 4]
    out_id = await bulk_changes.plan_category(
        conn, ALL, Field.REMOVE_CATEGORY, "drama", user_id=staff, now=NOON
    )
    plan = await all_of(bulk_changes.carry_out, conn, out_id)
    assert len(plan.changes) == 1
    assert await shelves() == [["poetry"]] * 5
    await all_of(bulk_changes.undo, conn, out_id)
    assert await shelves() == [["drama", "poetry"], *[["poetry"]] * 4]
    await all_of(bulk_changes.undo, conn, plan_id)
    # The first book has been changed since, so what came after stays.
    assert await shelves() == [["drama", "poetry"], *[[]] * 4]


async def test_a_category_that_is_none_is_refused(conn, shelf, staff):
    with pytest.raises(Invalid, match="no such category"):
        await bulk_changes.plan_category(
            conn, ALL, Field.ADD_CATEGORY, "none", user_id=staff, now=NOON
        )
