"""Orders and letters through real workers in this process."""

from email import message_from_bytes, policy

from bookstore import db, doctor, orders, tasks
from bookstore.orders import State
from bookstore.tasks import Offer, Task
from tests.actors.conftest import nothing_left
from tests.factories import NOON, add_book


def subjects(settings):
    letters = [
        message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in sorted((settings.var_dir / "mail").iterdir())
    ]
    return sorted(letter["Subject"].rpartition(" ")[0] for letter in letters)


async def test_an_order_is_confirmed_and_two_letters_go_out(
    engine, publisher, place_order, settings
):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=3)

    order = await place_order({dune: 2}, db.announcing(engine, publisher.offer))
    await nothing_left(engine)

    async with db.reading(engine) as conn:
        assert (await orders.get(conn, order.number)).status is State.CONFIRMED
        assert [found async for found in doctor.examine(conn, now=NOON)] == []
    assert subjects(settings) == ["We have your order", "Your books are set aside: order"]


async def test_messages_that_come_five_times_have_one_effect(
    engine, publisher, place_order, settings
):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=30)
    placed = [await place_order({dune: 1}) for _ in range(8)]
    offers = [Offer(Task.PROCESS_ORDERS, order.id) for order in placed]

    for turn in range(5):
        publisher.offer(offers[turn:] + offers[:turn])
        publisher.offer([offers[turn]])
    async with db.reading(engine) as conn:
        letters = [
            Offer(Task.SEND_NOTIFICATIONS, row.ref_id)
            for row in await tasks.find(conn)
            if row.task is Task.SEND_NOTIFICATIONS
        ]
    for _ in range(5):
        publisher.offer(letters)
    await nothing_left(engine)

    async with db.reading(engine) as conn:
        assert (await orders.count_by_state(conn))[State.CONFIRMED] == 8
        assert [found async for found in doctor.examine(conn, now=NOON)] == []
    assert len(subjects(settings)) == 16


async def test_orders_that_no_message_told_of_are_found_by_the_relay(engine, place_order, settings):
    from actors.embedded import workers

    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=3)
    order = await place_order({dune: 1})

    async with workers(settings):
        await nothing_left(engine)

    async with db.reading(engine) as conn:
        assert (await orders.get(conn, order.number)).status is State.CONFIRMED
