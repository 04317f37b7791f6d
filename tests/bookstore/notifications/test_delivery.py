import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import notifications as table
from bookstore.database.tables import tasks as task_table
from bookstore.notifications import delivery, emails, notifications, smtp
from bookstore.notifications.delivery import Attempt, Claim, DeliveryWorker, End
from bookstore.notifications.emails import Store
from bookstore.notifications.mime import Mail
from bookstore.notifications.notifications import Status
from bookstore.notifications.smtp import SmtpMailer
from bookstore.tasks import outbox
from tests.factories import NOON, add_book, add_order
from tests.servers.smtp import SmtpSink

STORE = Store(
    "Ampersand Books", "https://books.example", "shop@books.example", str.lower, str.upper
)


@dataclass
class Clock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


class Broken:
    """A mailer with whom sending ends as it is told."""

    def __init__(self, end: BaseException) -> None:
        self.end = end
        self.attempts = 0

    async def send(self, mail: Mail) -> str:
        self.attempts += 1
        raise self.end

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deliver(engine: AsyncEngine, smtp_sink: SmtpSink, clock: Clock) -> Callable[..., Any]:
    """What a worker does about notifications, by default over the sink."""

    async def deliver(*notification_ids: int, mailer: smtp.Mailer | None = None) -> None:
        given = mailer or SmtpMailer(smtp_sink.url, deadline_s=2)
        await DeliveryWorker(engine, given, STORE, clock=clock).deliver(notification_ids)
        await given.close()

    return deliver


async def queue(engine: AsyncEngine, recipient: str = "mira@example.com") -> int:
    async with transaction(engine) as conn:
        return await notifications.queue(conn, "welcome", recipient=recipient, now=NOON)


async def claim(engine: AsyncEngine, notification_id: int, now: datetime) -> Claim:
    async with transaction(engine) as conn:
        (claimed,) = await delivery.claim(conn, [notification_id], now=now)
    return claimed


async def note(engine: AsyncEngine, *attempts: Attempt, now: datetime) -> None:
    async with transaction(engine) as conn:
        await delivery.note(conn, attempts, now=now)


async def row(engine: AsyncEngine, notification_id: int) -> Row[Any]:
    async with reading(engine) as conn:
        return (await conn.execute(select(table).where(table.c.id == notification_id))).one()


async def due_at(engine: AsyncEngine) -> datetime | None:
    """When the only task is due; None when there is none."""
    async with reading(engine) as conn:
        return await conn.scalar(select(task_table.c.due_at))


async def test_a_letter_is_sent_once(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)

    await deliver(notification_id)
    await deliver(notification_id)

    (letter,) = smtp_sink.letters
    assert letter["Subject"] == "Your account is open"
    found = await row(engine, notification_id)
    assert (found.status, found.attempts, found.in_doubt) == (Status.SENT, 1, False)
    assert (found.sent_at, found.smtp_answer) == (NOON, "250 2.0.0 OK")
    assert await due_at(engine) is None


async def test_two_workers_with_the_same_message_send_one_letter(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink
) -> None:
    notification_id = await queue(engine)
    smtp_sink.delay_s = 0.2

    await asyncio.gather(*(deliver(notification_id) for _ in range(4)))

    assert smtp_sink.attempts == 1
    assert (await row(engine, notification_id)).status == Status.SENT


async def test_a_letter_that_is_put_off_is_sent_later(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    smtp_sink.answer = "451 4.7.1 Greylisted"

    await deliver(notification_id)

    found = await row(engine, notification_id)
    assert (found.status, found.smtp_answer) == (Status.QUEUED, "451 4.7.1 Greylisted")
    assert await due_at(engine) == NOON + timedelta(minutes=1)

    smtp_sink.answer = "250 2.0.0 OK"
    clock.move(minutes=1)
    await deliver(notification_id)

    found = await row(engine, notification_id)
    assert (found.status, found.attempts, found.in_doubt) == (Status.SENT, 2, False)
    assert len(smtp_sink.letters) == 1


async def test_pauses_grow_and_after_three_days_a_letter_is_given_up(
    engine: AsyncEngine, deliver: Callable[..., Any], clock: Clock
) -> None:
    notification_id = await queue(engine)
    away = Broken(smtp.TryLater("no route"))
    pauses = []

    await deliver(notification_id, mailer=away)
    while (due := await due_at(engine)) is not None:
        pauses.append(round((due - clock.now).total_seconds() / 60))
        clock.now = due
        await deliver(notification_id, mailer=away)

    assert pauses[:7] == [1, 2, 5, 10, 30, 60, 60]
    assert max(pauses) == 60
    assert timedelta(hours=71) < clock.now - NOON <= timedelta(hours=72)
    found = await row(engine, notification_id)
    assert (found.status, found.smtp_answer) == (Status.FAILED, "no route")


async def test_staff_give_a_letter_its_three_days_anew(
    engine: AsyncEngine, deliver: Callable[..., Any], clock: Clock
) -> None:
    notification_id = await queue(engine)
    await deliver(notification_id, mailer=Broken(smtp.Refused("550 Full")))
    clock.move(days=30)
    async with transaction(engine) as conn:
        await notifications.resend(conn, notification_id, user_id=None, now=clock.now)

    await deliver(notification_id, mailer=Broken(smtp.TryLater("451 Still full")))

    assert (await row(engine, notification_id)).status == Status.QUEUED
    assert await due_at(engine) == clock.now + timedelta(minutes=1)


async def test_a_refused_letter_is_not_tried_again(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink
) -> None:
    notification_id = await queue(engine)
    smtp_sink.refused["mira@example.com"] = "550 5.1.1 Nobody here"

    await deliver(notification_id)
    smtp_sink.refused.clear()
    await deliver(notification_id)

    assert smtp_sink.letters == []
    found = await row(engine, notification_id)
    assert (found.status, found.smtp_answer) == (Status.FAILED, "550 5.1.1 Nobody here")
    assert await due_at(engine) is None


async def test_a_letter_in_doubt_is_sent_once_more_and_no_oftener(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    smtp_sink.hang_up = True

    await deliver(notification_id)
    found = await row(engine, notification_id)
    assert (found.status, found.in_doubt) == (Status.QUEUED, True)
    assert await due_at(engine) == NOON + timedelta(minutes=1)
    for _ in range(3):
        clock.move(minutes=5)
        await deliver(notification_id)

    first, second = smtp_sink.letters
    assert first["Message-ID"] == second["Message-ID"]
    assert first.as_bytes() == second.as_bytes()
    found = await row(engine, notification_id)
    assert (found.status, found.in_doubt, found.attempts) == (Status.FAILED, True, 2)
    assert await due_at(engine) is None


async def test_a_letter_in_doubt_that_arrives_keeps_its_mark(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    smtp_sink.hang_up = True
    await deliver(notification_id)
    smtp_sink.hang_up = False
    clock.move(minutes=1)

    await deliver(notification_id)

    assert len({letter["Message-ID"] for letter in smtp_sink.letters}) == 1
    found = await row(engine, notification_id)
    assert (found.status, found.in_doubt) == (Status.SENT, True)


async def test_a_worker_that_died_is_followed_by_another_once_its_lease_is_over(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    await claim(engine, notification_id, NOON)

    clock.move(seconds=59)
    await deliver(notification_id)
    assert smtp_sink.attempts == 0
    assert await due_at(engine) == NOON + delivery.LEASE

    clock.move(seconds=1)
    await deliver(notification_id)
    found = await row(engine, notification_id)
    assert (found.status, found.in_doubt, found.attempts) == (Status.SENT, True, 2)
    assert len(smtp_sink.letters) == 1


async def test_a_letter_that_kills_every_worker_is_given_up(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    for _ in range(2):
        await claim(engine, notification_id, clock.now)
        clock.move(minutes=2)

    await deliver(notification_id)

    assert smtp_sink.attempts == 0
    found = await row(engine, notification_id)
    assert (found.status, found.in_doubt) == (Status.FAILED, True)
    assert await due_at(engine) is None


@pytest.mark.parametrize("end", [asyncio.CancelledError(), RuntimeError("bug")])
async def test_an_attempt_that_ends_in_the_middle_leaves_the_lease(
    engine: AsyncEngine,
    deliver: Callable[..., Any],
    smtp_sink: SmtpSink,
    clock: Clock,
    end: BaseException,
) -> None:
    notification_id = await queue(engine)

    with pytest.raises(type(end)):
        await deliver(notification_id, mailer=Broken(end))
    clock.move(minutes=1)
    await deliver(notification_id)

    assert len(smtp_sink.letters) == 1
    assert (await row(engine, notification_id)).in_doubt


@pytest.mark.parametrize("end", [End.PUT_OFF, End.REFUSED, End.IN_DOUBT, End.NO_TURN])
async def test_who_lost_the_lease_has_no_say(engine: AsyncEngine, clock: Clock, end: End) -> None:
    notification_id = await queue(engine)
    slow = await claim(engine, notification_id, NOON)
    clock.move(minutes=2)
    await claim(engine, notification_id, clock.now)

    await note(engine, Attempt(slow, end, "451 Later"), now=clock.now)

    found = await row(engine, notification_id)
    assert (found.status, found.lease_until) == (Status.SENDING, clock.now + delivery.LEASE)


async def test_who_lost_the_lease_may_still_say_that_it_arrived(
    engine: AsyncEngine, clock: Clock
) -> None:
    notification_id = await queue(engine)
    slow = await claim(engine, notification_id, NOON)
    clock.move(minutes=2)
    fast = await claim(engine, notification_id, clock.now)

    await note(engine, Attempt(slow, End.SENT, "250 OK"), now=clock.now)
    await note(engine, Attempt(fast, End.PUT_OFF, "451 Later"), now=clock.now)

    found = await row(engine, notification_id)
    assert (found.status, found.smtp_answer, found.in_doubt) == (Status.SENT, "250 OK", True)


async def test_an_address_that_is_none_fails_at_once(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink
) -> None:
    notification_id = await queue(engine, "mira@example.com\r\nRCPT TO:<eve@example.com>")

    await deliver(notification_id)

    assert smtp_sink.attempts == 0
    found = await row(engine, notification_id)
    assert (found.status, found.smtp_answer) == (
        Status.FAILED,
        "Nobody can be written to: this is no e-mail address.",
    )


async def test_a_letter_that_cannot_be_written_fails_and_the_log_says_why(
    engine: AsyncEngine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with transaction(engine) as conn:
        order_id = await add_order(conn, {await add_book(conn): 1}, number="7Q4M-XK2P")
        (notification_id,) = await notifications.queue_for_orders(
            conn, [(order_id, "order-placed", None, "mira@example.com")], now=NOON
        )
    tokens: dict[str, str] = {}
    broken = replace(STORE, access_token=tokens.__getitem__)
    mailer = Broken(AssertionError("nothing to send"))

    await DeliveryWorker(engine, mailer, broken, clock=clock).deliver([notification_id])

    assert (await row(engine, notification_id)).status == Status.FAILED
    assert await due_at(engine) is None
    assert f"no letter for notification {notification_id}" in caplog.messages


async def test_a_message_about_a_letter_that_is_not_there_changes_nothing(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink
) -> None:
    async with transaction(engine) as conn:
        await outbox.add(conn, outbox.Task.SEND_NOTIFICATIONS, [999], now=NOON)

    await deliver(999)

    assert smtp_sink.attempts == 0
    assert await due_at(engine) is None


async def test_the_letter_of_an_order_says_what_was_ordered(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink
) -> None:
    async with transaction(engine) as conn:
        order_id = await add_order(conn, {await add_book(conn): 2}, number="7Q4M-XK2P")
        (notification_id,) = await notifications.queue_for_orders(
            conn, [(order_id, "order-placed", None, "mira@example.com")], now=NOON
        )

    await deliver(notification_id)

    (letter,) = smtp_sink.letters
    text: Any = letter.get_body(("plain",))
    assert letter["Subject"] == "We have your order 7Q4M-XK2P"
    assert "Dune ..." in text.get_content()
    assert "€22.90" in text.get_content()
    assert "?access_token=7q4m-xk2p" in text.get_content()


def test_a_lease_outlives_the_longest_attempt() -> None:
    longest = delivery.TURN_S + smtp.DEADLINE_S + delivery.MENDING_S
    assert delivery.LEASE.total_seconds() > longest


async def test_every_attempt_at_a_letter_has_one_message_id(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    async with transaction(engine) as conn:
        expected = emails.message_id(await notifications.letter(conn, notification_id), STORE)
    smtp_sink.hang_up = True
    await deliver(notification_id)
    smtp_sink.hang_up = False
    clock.move(minutes=1)
    await deliver(notification_id)
    async with transaction(engine) as conn:
        await notifications.resend(conn, notification_id, user_id=None, now=clock.now)
    await deliver(notification_id)

    assert [letter["Message-ID"] for letter in smtp_sink.letters] == [expected] * 3
