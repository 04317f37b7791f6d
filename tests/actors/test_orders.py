"""Orders and e-mails through real workers in this process."""

import asyncio
import time
from dataclasses import replace
from email import message_from_bytes, policy

from actors.embedded import workers
from bookstore import orders
from bookstore.database import engine as db
from bookstore.operations import doctor
from bookstore.orders.states import State
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task, TaskRef
from tests.actors.conftest import all_tasks_done
from tests.factories import NOON, add_book


def subjects(settings):
    emails = [
        message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in sorted((settings.var_dir / "mail").iterdir())
    ]
    return sorted(email["Subject"].rpartition(" ")[0] for email in emails)


async def test_an_order_is_confirmed_and_two_emails_are_sent(
    engine, publisher, place_order, settings
):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=3)

    order = await place_order({dune: 2}, db.announcing(engine, publisher.publish))
    await all_tasks_done(engine)

    async with db.reading(engine) as conn:
        assert (await orders.get(conn, order.number)).status is State.CONFIRMED
        assert [found async for found in doctor.examine(conn, now=NOON)] == []
    assert subjects(settings) == ["Order confirmation", "We have received your order"]


async def test_messages_delivered_five_times_have_one_effect(
    engine, publisher, place_order, settings
):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=30)
    placed = [await place_order({dune: 1}) for _ in range(8)]
    refs = [TaskRef(Task.PROCESS_ORDERS, order.id) for order in placed]

    for turn in range(5):
        publisher.publish(refs[turn:] + refs[:turn])
        publisher.publish([refs[turn]])
    async with db.reading(engine) as conn:
        emails = [
            TaskRef(Task.SEND_NOTIFICATIONS, row.ref_id)
            for row in await outbox.find(conn)
            if row.task is Task.SEND_NOTIFICATIONS
        ]
    for _ in range(5):
        publisher.publish(emails)
    await all_tasks_done(engine)

    async with db.reading(engine) as conn:
        assert (await orders.count_by_state(conn))[State.CONFIRMED] == 8
        assert [found async for found in doctor.examine(conn, now=NOON)] == []
    assert len(subjects(settings)) == 16


async def test_the_relay_finds_orders_without_a_message(engine, place_order, settings):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=3)
    order = await place_order({dune: 1})

    async with workers(settings):
        await all_tasks_done(engine)

    async with db.reading(engine) as conn:
        assert (await orders.get(conn, order.number)).status is State.CONFIRMED


async def test_a_slow_mail_server_does_not_delay_orders(engine, place_order, settings, smtp_sink):
    async with db.transaction(engine) as conn:
        dune = await add_book(conn, stock=100)
    smtp_sink.delay_s = 4
    async with workers(replace(settings, smtp_url=smtp_sink.url)) as publisher:
        announcing = db.announcing(engine, publisher.publish)
        started = time.monotonic()

        for _ in range(25):
            await place_order({dune: 1}, announcing)
        while (await count(engine))[State.CONFIRMED] < 25:
            assert time.monotonic() < started + 15
            await asyncio.sleep(0.02)

    assert len(smtp_sink.received) < 50


async def count(engine):
    async with db.reading(engine) as conn:
        return await orders.count_by_state(conn)
