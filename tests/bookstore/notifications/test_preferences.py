import asyncio

from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.notifications import notifications, preferences
from bookstore.notifications.delivery import DeliveryWorker
from bookstore.notifications.emails import StoreFacts
from bookstore.notifications.notifications import EmailStatus
from bookstore.notifications.preferences import Preferences
from bookstore.notifications.smtp import SmtpMailer
from tests.factories import NOON, add_book, add_order, add_user

STORE = StoreFacts(
    "Ampersand Books", "https://books.example", "shop@books.example", str.lower, str.upper
)


async def deliver(engine, sink, notification_id):
    mailer = SmtpMailer(sink.url)
    await DeliveryWorker(engine, mailer, STORE, clock=lambda: NOON).deliver([notification_id])
    await mailer.close()
    async with reading(engine) as conn:
        return (await notifications.get(conn, notification_id)).email_status


async def test_every_email_is_sent_by_default(conn):
    anna = await add_user(conn)

    before = await preferences.of_user(conn, anna)
    await preferences.change(conn, anna, {"email_messages": False}, now=NOON)
    await preferences.change(conn, anna, {"email_when_delivered": False}, now=NOON)

    assert before == Preferences(email_when_delivered=True, email_messages=True)
    assert await preferences.of_user(conn, anna) == Preferences(False, False)


async def test_two_concurrent_changes_are_both_stored(engine):
    async with transaction(engine) as conn:
        anna = await add_user(conn)

    async def choose(name):
        async def work():
            async with transaction(engine) as conn:
                await preferences.change(conn, anna, {name: False}, now=NOON)

        await retry_transaction(work)

    await asyncio.gather(choose("email_messages"), choose("email_when_delivered"))

    async with reading(engine) as conn:
        assert await preferences.of_user(conn, anna) == Preferences(False, False)


async def test_a_switched_off_email_is_not_sent_but_listed(engine, smtp_sink):
    async with transaction(engine) as conn:
        anna = await add_user(conn, email="anna@example.com")
        order = await add_order(conn, {await add_book(conn): 1}, user_id=anna, status="delivered")
        message = await notifications.write(conn, anna, "Hello", "There.", by=None, now=NOON)
        [delivered] = await notifications.queue_for_orders(
            conn, [(order, "order-delivered", anna, "anna@example.com")], now=NOON
        )
        # The preferences at the time of sending count, not those at the time of queueing.
        chosen = {"email_messages": False, "email_when_delivered": False}
        await preferences.change(conn, anna, chosen, now=NOON)

    assert await deliver(engine, smtp_sink, message.id) is EmailStatus.MUTED
    assert await deliver(engine, smtp_sink, delivered) is EmailStatus.MUTED

    assert smtp_sink.emails == []
    async with reading(engine) as conn:
        listed = (await notifications.of_user(conn, anna)).items
    assert [it.id for it in listed] == [delivered, message.id]


async def test_emails_about_an_order_in_progress_are_always_sent(engine, smtp_sink):
    async with transaction(engine) as conn:
        anna = await add_user(conn, email="anna@example.com")
        chosen = {"email_messages": False, "email_when_delivered": False}
        await preferences.change(conn, anna, chosen, now=NOON)
        order = await add_order(conn, {await add_book(conn): 1}, user_id=anna)
        kinds = ["order-placed", "order-confirmed", "order-shipped", "order-cancelled"]
        ids = await notifications.queue_for_orders(
            conn, [(order, kind, anna, "anna@example.com") for kind in kinds], now=NOON
        )

    states = [await deliver(engine, smtp_sink, notification_id) for notification_id in ids]

    assert states == [EmailStatus.SENT] * 4
    assert len(smtp_sink.emails) == 4


async def test_preferences_apply_to_one_customer_only(engine, smtp_sink):
    async with transaction(engine) as conn:
        anna, boris = await add_user(conn), await add_user(conn, email="boris@example.com")
        await preferences.change(conn, anna, {"email_messages": False}, now=NOON)
        message = await notifications.write(conn, boris, "Hello", "There.", by=None, now=NOON)

    assert await deliver(engine, smtp_sink, message.id) is EmailStatus.SENT
