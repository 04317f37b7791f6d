import pytest
from sqlalchemy import select

from bookstore import orders
from bookstore.backoffice import audit_report
from bookstore.database.tables import notifications
from bookstore.errors import Invalid
from bookstore.orders.states import State
from tests.factories import NOON, add_book, add_order, add_user


async def test_many_orders_take_one_step_and_the_others_say_why_not(conn):
    clerk, dune = await add_user(conn), await add_book(conn)
    for place, status in enumerate(["confirmed", "confirmed", "packed", "cancelled"]):
        await add_order(conn, {dune: 1}, number=f"000{place}-TEST", status=status)
    numbers = [f"000{place}-TEST" for place in range(4)]

    moved = await orders.move_many(
        conn, [*numbers, "NONE-TEST"], State.PACKED, user_id=clerk, now=NOON
    )

    assert moved.done == ["0000-TEST", "0001-TEST"]
    assert set(moved.refused) == {"0002-TEST", "0003-TEST", "NONE-TEST"}
    first = await orders.get(conn, "0000-TEST")
    assert (first.status, first.last_seq) == (State.PACKED, 2)
    (event,) = await orders.events(conn, first.id, after=1)
    assert (event.id, event.kind, event.actor) == (2, "packed", f"staff:{clerk}")
    audited = (await audit_report.audit(conn)).items
    assert {change.object_id for change in audited} == {"0000-TEST", "0001-TEST"}
    assert audited[0].changes == {"status": ["confirmed", "packed"]}


async def test_each_customer_is_told_that_the_parcel_is_on_its_way(conn):
    clerk, dune = await add_user(conn), await add_book(conn)
    for place in range(2):
        await add_order(conn, {dune: 1}, number=f"000{place}-TEST", status="packed")

    await orders.move_many(conn, ["0000-TEST", "0001-TEST"], State.SHIPPED, user_id=clerk, now=NOON)

    kinds = await conn.scalars(select(notifications.c.kind))
    assert list(kinds) == ["order-shipped"] * 2


@pytest.mark.parametrize("to", [State.CANCELLED, State.CONFIRMED, State.DELIVERED])
async def test_steps_that_need_words_are_taken_one_by_one(conn, to):
    with pytest.raises(Invalid):
        await orders.move_many(conn, ["0000-TEST"], to, user_id=1, now=NOON)
