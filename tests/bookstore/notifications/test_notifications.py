from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import audit_log, tasks
from bookstore.database.tables import notifications as table
from bookstore.errors import Invalid, NotFound
from bookstore.notifications import delivery, notifications
from bookstore.notifications.emails import Item
from bookstore.notifications.notifications import EmailStatus
from tests.factories import NOON, add_book, add_order, add_user, create_book

LATER = NOON + timedelta(days=1)


async def queue(conn: AsyncConnection, **facts: Any) -> int:
    facts = {"recipient": "mira@example.com", **facts}
    return await notifications.queue(conn, "welcome", now=NOON, **facts)


async def task_refs(conn: AsyncConnection) -> list[tuple[str, int]]:
    """All tasks."""
    found = await conn.execute(select(tasks.c.task, tasks.c.ref_id).order_by(tasks.c.ref_id))
    return [(task, ref_id) for task, ref_id in found]


async def set_status(conn: AsyncConnection, notification_id: int, status: EmailStatus) -> None:
    await conn.execute(
        update(table).where(table.c.id == notification_id).values(status=status, attempts=3)
    )
    if status in (EmailStatus.SENT, EmailStatus.FAILED):
        await conn.execute(tasks.delete())


async def row(conn: AsyncConnection, notification_id: int) -> Row[Any]:
    return (await conn.execute(select(table).where(table.c.id == notification_id))).one()


async def test_an_email_is_queued_with_its_task(conn: AsyncConnection) -> None:
    user_id = await add_user(conn)

    notification_id = await queue(conn, user_id=user_id)

    found = await notifications.get(conn, notification_id)
    assert (found.email_status, found.attempts, found.in_doubt) == (EmailStatus.QUEUED, 0, False)
    assert found.subject == "Welcome to your account"
    assert await task_refs(conn) == [("send_notifications", notification_id)]


async def test_an_unknown_kind_of_email_is_an_error(conn: AsyncConnection) -> None:
    with pytest.raises(ValueError):
        await notifications.queue(conn, "order-packed", recipient="mira@example.com", now=NOON)


async def test_emails_of_several_orders_are_queued_together(conn: AsyncConnection) -> None:
    dune = await add_book(conn)
    user_id = await add_user(conn)
    orders = [await add_order(conn, {dune: 1}) for _ in range(3)]
    rows = [(order_id, "order-confirmed", None, "mira@example.com") for order_id in orders[:2]]

    ids = await notifications.queue_for_orders(
        conn, [*rows, (orders[2], "order-rejected", user_id, "søren@example.com")], now=NOON
    )

    found = [await row(conn, notification_id) for notification_id in ids]
    assert [(each.order_id, each.kind, each.user_id, each.recipient) for each in found] == [
        (orders[0], "order-confirmed", None, "mira@example.com"),
        (orders[1], "order-confirmed", None, "mira@example.com"),
        (orders[2], "order-rejected", user_id, "søren@example.com"),
    ]
    assert await task_refs(conn) == [
        ("send_notifications", notification_id) for notification_id in ids
    ]


@pytest.mark.parametrize("status", EmailStatus)
async def test_an_order_has_at_most_one_email_of_each_kind(
    conn: AsyncConnection, status: EmailStatus
) -> None:
    order_id = await add_order(conn, {await add_book(conn): 1})
    rows = [(order_id, "order-placed", None, "mira@example.com")]
    (first,) = await notifications.queue_for_orders(conn, rows, now=NOON)
    await set_status(conn, first, status)

    second = await notifications.queue_for_orders(conn, rows, now=NOON)
    other = await notifications.queue_for_orders(
        conn, [*rows, (order_id, "order-confirmed", None, "mira@example.com")], now=NOON
    )

    assert second == []
    assert len(other) == 1
    assert await conn.scalar(select(func.count()).select_from(table)) == 2
    assert (await row(conn, first)).status == status


async def test_no_orders_queue_no_emails(conn: AsyncConnection) -> None:
    assert await notifications.queue_for_orders(conn, [], now=NOON) == []


async def test_an_email_has_the_current_data_of_the_order(conn: AsyncConnection) -> None:
    user_id = await add_user(conn, name="Mira Sørensen")
    book = await create_book(conn, title="Emma", authors=["Jane Austen", "A. Nother"])
    order_id = await add_order(
        conn, {book.id: 2}, number="7Q4M-XK2P", user_id=user_id, tracking="DHL 1"
    )
    (notification_id,) = await notifications.queue_for_orders(
        conn, [(order_id, "order-shipped", user_id, "mira@example.com")], now=NOON
    )

    found = await notifications.get_email(conn, notification_id)

    assert found.name == "Mira Sørensen"
    assert found.order is not None
    assert found.order.items == (Item("Emma", ("Jane Austen", "A. Nother"), 2, 1290),)
    assert found.order.tracking == "DHL 1"
    # The worker has not calculated the total yet.
    assert found.order.totals.total_cents == 2 * 1290 + 290
    assert not found.order.guest


async def test_the_name_of_a_guest_is_from_the_shipping_address(conn: AsyncConnection) -> None:
    order_id = await add_order(conn, {await add_book(conn): 1})
    (notification_id,) = await notifications.queue_for_orders(
        conn, [(order_id, "order-placed", None, "mira@example.com")], now=NOON
    )

    found = await notifications.get_email(conn, notification_id)

    assert found.name == "Mira"
    assert found.order is not None
    assert found.order.guest


async def test_users_see_their_own_notifications_newest_first(conn: AsyncConnection) -> None:
    user_id, other = await add_user(conn), await add_user(conn)
    ids = [await queue(conn, user_id=user_id) for _ in range(3)]
    await queue(conn, user_id=other)
    order_id = await add_order(conn, {await add_book(conn): 1}, number="7Q4M-XK2P", user_id=user_id)
    ids += await notifications.queue_for_orders(
        conn, [(order_id, "order-placed", user_id, "mira@example.com")], now=NOON
    )

    first = await notifications.of_user(conn, user_id, limit=3)
    second = await notifications.of_user(conn, user_id, cursor=first.next, limit=3)

    assert [found.id for found in first.items + second.items] == ids[::-1]
    assert second.next is None
    assert first.items[0].order_number == "7Q4M-XK2P"
    assert first.items[0].subject == "We have received your order 7Q4M-XK2P"
    assert "order 7Q4M-XK2P (one book)" in first.items[0].body


async def test_a_message_has_the_subject_and_body_of_staff(conn: AsyncConnection) -> None:
    user_id = await add_user(conn)
    await notifications.queue(
        conn,
        "message",
        recipient="mira@example.com",
        user_id=user_id,
        subject="Your question",
        body="It is here.\nAt the till.",
        now=NOON,
    )

    (found,) = (await notifications.of_user(conn, user_id)).items

    assert (found.subject, found.body) == ("Your question", "It is here.\nAt the till.")


async def test_a_user_without_notifications_has_an_empty_page(conn: AsyncConnection) -> None:
    assert (await notifications.of_user(conn, await add_user(conn))).items == []


async def test_the_first_time_of_reading_is_recorded(conn: AsyncConnection) -> None:
    user_id = await add_user(conn)
    first, second = [await queue(conn, user_id=user_id) for _ in range(2)]

    await notifications.mark_read(conn, first, user_id=user_id, now=NOON)
    found = await notifications.mark_read(conn, first, user_id=user_id, now=LATER)

    assert found.read_at == NOON
    unread = await notifications.of_user(conn, user_id, unread=True)
    read = await notifications.of_user(conn, user_id, unread=False)
    assert [each.id for each in unread.items] == [second]
    assert [each.id for each in read.items] == [first]


async def test_a_user_cannot_mark_notifications_of_others_as_read(conn: AsyncConnection) -> None:
    notification_id = await queue(conn, user_id=await add_user(conn))

    with pytest.raises(NotFound):
        await notifications.mark_read(conn, notification_id, user_id=await add_user(conn), now=NOON)

    assert (await row(conn, notification_id)).read_at is None


async def test_staff_find_notifications_by_the_state_of_their_email(conn: AsyncConnection) -> None:
    queued, failed = [await queue(conn) for _ in range(2)]
    await set_status(conn, failed, EmailStatus.FAILED)
    await conn.execute(update(table).where(table.c.id == queued).values(in_doubt=True))

    everything = await notifications.find(conn)
    failed_only = await notifications.find(conn, status=EmailStatus.FAILED)
    doubtful = await notifications.find(conn, in_doubt=True)

    assert [found.id for found in everything.items] == [failed, queued]
    assert [found.id for found in failed_only.items] == [failed]
    assert [found.id for found in doubtful.items] == [queued]
    assert await notifications.count(conn) == {
        EmailStatus.QUEUED: 1,
        EmailStatus.SENDING: 0,
        EmailStatus.FAILED: 1,
    }


async def test_a_cursor_of_another_list_is_invalid(conn: AsyncConnection) -> None:
    with pytest.raises(Invalid):
        await notifications.find(conn, cursor="WyJ0aXRsZSJd")


async def test_an_unknown_notification_is_not_found(conn: AsyncConnection) -> None:
    with pytest.raises(NotFound):
        await notifications.get(conn, 1)
    with pytest.raises(NotFound):
        await notifications.get_email(conn, 1)
    with pytest.raises(NotFound):
        await notifications.resend(conn, 1, user_id=None, now=NOON)


@pytest.mark.parametrize("status", [EmailStatus.QUEUED, EmailStatus.SENT, EmailStatus.FAILED])
async def test_staff_resend_an_email(conn: AsyncConnection, status: EmailStatus) -> None:
    staff = await add_user(conn)
    notification_id = await queue(conn)
    await set_status(conn, notification_id, status)

    found = await notifications.resend(conn, notification_id, user_id=staff, now=LATER)

    assert (found.email_status, found.attempts) == (EmailStatus.QUEUED, 0)
    assert await task_refs(conn) == [("send_notifications", notification_id)]
    entry = (await conn.execute(select(audit_log))).one()
    assert (entry.action, entry.object_type, entry.user_id) == ("resend", "notification", staff)
    assert entry.changes == {"email_status": [status, "queued"]}
    assert await delivery.claim(conn, [notification_id], now=LATER)


async def test_an_email_that_is_being_sent_is_not_resent(conn: AsyncConnection) -> None:
    notification_id = await queue(conn)
    await delivery.claim(conn, [notification_id], now=NOON)

    found = await notifications.resend(conn, notification_id, user_id=None, now=NOON)

    assert found.email_status is EmailStatus.SENDING
    assert await delivery.claim(conn, [notification_id], now=NOON) == []
