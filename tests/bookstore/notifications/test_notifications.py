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
from bookstore.notifications.notifications import Status
from tests.factories import NOON, add_book, add_order, add_user, create_book

LATER = NOON + timedelta(days=1)


async def queue(conn: AsyncConnection, **facts: Any) -> int:
    facts = {"recipient": "mira@example.com", **facts}
    return await notifications.queue(conn, "welcome", now=NOON, **facts)


async def due(conn: AsyncConnection) -> list[tuple[str, int]]:
    """The tasks there are."""
    found = await conn.execute(select(tasks.c.task, tasks.c.ref_id).order_by(tasks.c.ref_id))
    return [(task, ref_id) for task, ref_id in found]


async def set_status(conn: AsyncConnection, notification_id: int, status: Status) -> None:
    await conn.execute(
        update(table).where(table.c.id == notification_id).values(status=status, attempts=3)
    )
    if status in (Status.SENT, Status.FAILED):
        await conn.execute(tasks.delete())


async def row(conn: AsyncConnection, notification_id: int) -> Row[Any]:
    return (await conn.execute(select(table).where(table.c.id == notification_id))).one()


async def test_a_letter_is_queued_with_its_task(conn: AsyncConnection) -> None:
    user_id = await add_user(conn)

    notification_id = await queue(conn, user_id=user_id)

    found = await notifications.get(conn, notification_id)
    assert (found.email_status, found.attempts, found.in_doubt) == (Status.QUEUED, 0, False)
    assert found.subject == "Your account is open"
    assert await due(conn) == [("send_notifications", notification_id)]


async def test_a_letter_of_an_unknown_kind_is_a_mistake(conn: AsyncConnection) -> None:
    with pytest.raises(ValueError):
        await notifications.queue(conn, "order-packed", recipient="mira@example.com", now=NOON)


async def test_orders_get_their_letters_in_one_go(conn: AsyncConnection) -> None:
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
    assert await due(conn) == [("send_notifications", notification_id) for notification_id in ids]


@pytest.mark.parametrize("status", Status)
async def test_a_letter_about_an_order_is_never_doubled(
    conn: AsyncConnection, status: Status
) -> None:
    order_id = await add_order(conn, {await add_book(conn): 1})
    rows = [(order_id, "order-placed", None, "mira@example.com")]
    (first,) = await notifications.queue_for_orders(conn, rows, now=NOON)
    await set_status(conn, first, status)

    again = await notifications.queue_for_orders(conn, rows, now=NOON)
    other = await notifications.queue_for_orders(
        conn, [*rows, (order_id, "order-confirmed", None, "mira@example.com")], now=NOON
    )

    assert again == []
    assert len(other) == 1
    assert await conn.scalar(select(func.count()).select_from(table)) == 2
    assert (await row(conn, first)).status == status


async def test_no_orders_need_no_letters(conn: AsyncConnection) -> None:
    assert await notifications.queue_for_orders(conn, [], now=NOON) == []


async def test_a_letter_tells_the_order_as_it_is_when_read(conn: AsyncConnection) -> None:
    user_id = await add_user(conn, name="Mira Sørensen")
    book = await create_book(conn, title="Emma", authors=["Jane Austen", "A. Nother"])
    order_id = await add_order(
        conn, {book.id: 2}, number="7Q4M-XK2P", user_id=user_id, tracking="DHL 1"
    )
    (notification_id,) = await notifications.queue_for_orders(
        conn, [(order_id, "order-shipped", user_id, "mira@example.com")], now=NOON
    )

    found = await notifications.letter(conn, notification_id)

    assert found.name == "Mira Sørensen"
    assert found.order is not None
    assert found.order.items == (Item("Emma", ("Jane Austen", "A. Nother"), 2, 1290),)
    assert found.order.tracking == "DHL 1"
    # Nobody has worked the total out yet.
    assert found.order.totals.total_cents == 2 * 1290 + 290
    assert not found.order.guest


async def test_a_guest_is_called_as_the_parcel_is(conn: AsyncConnection) -> None:
    order_id = await add_order(conn, {await add_book(conn): 1})
    (notification_id,) = await notifications.queue_for_orders(
        conn, [(order_id, "order-placed", None, "mira@example.com")], now=NOON
    )

    found = await notifications.letter(conn, notification_id)

    assert found.name == "Mira"
    assert found.order is not None
    assert found.order.guest


async def test_a_user_sees_their_own_newest_first(conn: AsyncConnection) -> None:
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
    assert first.items[0].subject == "We have your order 7Q4M-XK2P"
    assert "Order 7Q4M-XK2P of one book" in first.items[0].body


async def test_a_message_keeps_the_words_of_staff(conn: AsyncConnection) -> None:
    user_id = await add_user(conn)
    await notifications.queue(
        conn,
        "message",
        recipient="mira@example.com",
        user_id=user_id,
        subject="Your question",
        body="It is here.\nOn shelf 3.",
        now=NOON,
    )

    (found,) = (await notifications.of_user(conn, user_id)).items

    assert (found.subject, found.body) == ("Your question", "It is here.\nOn shelf 3.")


async def test_nothing_yet_is_an_empty_page(conn: AsyncConnection) -> None:
    assert (await notifications.of_user(conn, await add_user(conn))).items == []


async def test_what_was_read_stays_read_since_the_first_time(conn: AsyncConnection) -> None:
    user_id = await add_user(conn)
    first, second = [await queue(conn, user_id=user_id) for _ in range(2)]

    await notifications.mark_read(conn, first, user_id=user_id, now=NOON)
    found = await notifications.mark_read(conn, first, user_id=user_id, now=LATER)

    assert found.read_at == NOON
    unread = await notifications.of_user(conn, user_id, unread=True)
    read = await notifications.of_user(conn, user_id, unread=False)
    assert [each.id for each in unread.items] == [second]
    assert [each.id for each in read.items] == [first]


async def test_nobody_reads_the_letters_of_others(conn: AsyncConnection) -> None:
    notification_id = await queue(conn, user_id=await add_user(conn))

    with pytest.raises(NotFound):
        await notifications.mark_read(conn, notification_id, user_id=await add_user(conn), now=NOON)

    assert (await row(conn, notification_id)).read_at is None


async def test_staff_find_letters_by_what_became_of_them(conn: AsyncConnection) -> None:
    queued, failed = [await queue(conn) for _ in range(2)]
    await set_status(conn, failed, Status.FAILED)
    await conn.execute(update(table).where(table.c.id == queued).values(in_doubt=True))

    everything = await notifications.find(conn)
    given_up = await notifications.find(conn, status=Status.FAILED)
    doubtful = await notifications.find(conn, in_doubt=True)

    assert [found.id for found in everything.items] == [failed, queued]
    assert [found.id for found in given_up.items] == [failed]
    assert [found.id for found in doubtful.items] == [queued]
    assert await notifications.count(conn) == {
        Status.QUEUED: 1,
        Status.SENDING: 0,
        Status.FAILED: 1,
    }


async def test_a_cursor_of_another_list_is_refused(conn: AsyncConnection) -> None:
    with pytest.raises(Invalid):
        await notifications.find(conn, cursor="WyJ0aXRsZSJd")


async def test_what_is_not_there_is_not_found(conn: AsyncConnection) -> None:
    with pytest.raises(NotFound):
        await notifications.get(conn, 1)
    with pytest.raises(NotFound):
        await notifications.letter(conn, 1)
    with pytest.raises(NotFound):
        await notifications.resend(conn, 1, user_id=None, now=NOON)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SENT, Status.FAILED])
async def test_staff_have_a_letter_sent_again(conn: AsyncConnection, status: Status) -> None:
    staff = await add_user(conn)
    notification_id = await queue(conn)
    await set_status(conn, notification_id, status)

    found = await notifications.resend(conn, notification_id, user_id=staff, now=LATER)

    assert (found.email_status, found.attempts) == (Status.QUEUED, 0)
    assert await due(conn) == [("send_notifications", notification_id)]
    entry = (await conn.execute(select(audit_log))).one()
    assert (entry.action, entry.object_type, entry.user_id) == ("resend", "notification", staff)
    assert entry.changes == {"email_status": [status, "queued"]}
    assert await delivery.claim(conn, [notification_id], now=LATER)


async def test_a_letter_that_is_being_sent_is_not_sent_again(conn: AsyncConnection) -> None:
    notification_id = await queue(conn)
    await delivery.claim(conn, [notification_id], now=NOON)

    found = await notifications.resend(conn, notification_id, user_id=None, now=NOON)

    assert found.email_status is Status.SENDING
    assert await delivery.claim(conn, [notification_id], now=NOON) == []
