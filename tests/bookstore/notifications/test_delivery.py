import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import notifications as table
from bookstore.database.tables import tasks as task_table
from bookstore.notifications import delivery, emails, notifications, smtp
from bookstore.notifications.delivery import Attempt, Claim, DeliveryOutcome, DeliveryWorker
from bookstore.notifications.mime import OutgoingEmail
from bookstore.notifications.notifications import EmailStatus
from bookstore.notifications.smtp import SmtpMailer
from bookstore.tasks import outbox
from tests.bookstore.notifications.email_queue import STORE, Clock, queue, row
from tests.factories import NOON, add_book, add_order
from tests.servers.smtp import SmtpSink


class FailingMailer:
    """A mailer whose `send` always raises the same exception."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.attempts = 0

    async def send(self, email: OutgoingEmail) -> str:
        self.attempts += 1
        raise self.error

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deliver(engine: AsyncEngine, smtp_sink: SmtpSink, clock: Clock) -> Callable[..., Any]:
    """Delivers notifications like a worker, by default to the sink."""

    async def deliver(*notification_ids: int, mailer: smtp.Mailer | None = None) -> None:
        used_mailer = mailer or SmtpMailer(smtp_sink.url, deadline_s=2)
        await DeliveryWorker(engine, used_mailer, STORE, clock=clock).deliver(notification_ids)
        await used_mailer.close()

    return deliver


async def claim(engine: AsyncEngine, notification_id: int, now: datetime) -> Claim:
    async with transaction(engine) as conn:
        (claimed,) = await delivery.claim(conn, [notification_id], now=now)
    return claimed


async def record(engine: AsyncEngine, *attempts: Attempt, now: datetime) -> None:
    async with transaction(engine) as conn:
        await delivery.record_results(conn, attempts, now=now)


async def due_at(engine: AsyncEngine) -> datetime | None:
    """When the only task is due; None if there is no task."""
    async with reading(engine) as conn:
        return await conn.scalar(select(task_table.c.due_at))


async def test_an_email_is_sent_once(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)

    await deliver(notification_id)
    await deliver(notification_id)

    (email,) = smtp_sink.emails
    assert email["Subject"] == "Welcome to your account"
    found = await row(engine, notification_id)
    assert (found.status, found.attempts, found.in_doubt) == (EmailStatus.SENT, 1, False)
    assert (found.sent_at, found.smtp_answer) == (NOON, "250 2.0.0 OK")
    assert await due_at(engine) is None


@pytest.mark.parametrize("column", ["kind", "status"])
async def test_an_email_of_a_newer_release_is_left_to_its_workers(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, column: str
) -> None:
    newer, known = await queue(engine), await queue(engine, "ana@example.com")
    async with transaction(engine) as conn:
        await conn.execute(
            update(table).where(table.c.id == newer).values({column: "from-tomorrow"})
        )

    await deliver(newer, known)

    (email,) = smtp_sink.emails
    assert email["To"] == "ana@example.com"
    found = await row(engine, newer)
    assert (found.attempts, getattr(found, column)) == (0, "from-tomorrow")
    assert await due_at(engine) is not None


async def test_two_workers_with_the_same_message_send_one_email(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink
) -> None:
    notification_id = await queue(engine)
    smtp_sink.delay_s = 0.2

    await asyncio.gather(*(deliver(notification_id) for _ in range(4)))

    assert smtp_sink.attempts == 1
    assert (await row(engine, notification_id)).status == EmailStatus.SENT


async def test_a_deferred_email_is_sent_later(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    smtp_sink.answer = "451 4.7.1 Greylisted"

    await deliver(notification_id)

    found = await row(engine, notification_id)
    assert (found.status, found.smtp_answer) == (EmailStatus.QUEUED, "451 4.7.1 Greylisted")
    assert await due_at(engine) == NOON + timedelta(minutes=1)

    smtp_sink.answer = "250 2.0.0 OK"
    clock.move(minutes=1)
    await deliver(notification_id)

    found = await row(engine, notification_id)
    assert (found.status, found.attempts, found.in_doubt) == (EmailStatus.SENT, 2, False)
    assert len(smtp_sink.emails) == 1


async def test_retry_delays_grow_and_after_three_days_an_email_fails(
    engine: AsyncEngine, deliver: Callable[..., Any], clock: Clock
) -> None:
    notification_id = await queue(engine)
    failing = FailingMailer(smtp.TryLater("no route"))
    delays = []

    await deliver(notification_id, mailer=failing)
    while (due := await due_at(engine)) is not None:
        delays.append(round((due - clock.now).total_seconds() / 60))
        clock.now = due
        await deliver(notification_id, mailer=failing)

    assert delays[:7] == [1, 2, 5, 10, 30, 60, 60]
    assert max(delays) == 60
    assert timedelta(hours=71) < clock.now - NOON <= timedelta(hours=72)
    found = await row(engine, notification_id)
    assert (found.status, found.smtp_answer) == (EmailStatus.FAILED, "no route")


async def test_a_resend_by_staff_starts_a_new_retry_period(
    engine: AsyncEngine, deliver: Callable[..., Any], clock: Clock
) -> None:
    notification_id = await queue(engine)
    await deliver(notification_id, mailer=FailingMailer(smtp.Refused("550 Full")))
    clock.move(days=30)
    async with transaction(engine) as conn:
        await notifications.resend(conn, notification_id, user_id=None, now=clock.now)

    await deliver(notification_id, mailer=FailingMailer(smtp.TryLater("451 Still full")))

    assert (await row(engine, notification_id)).status == EmailStatus.QUEUED
    assert await due_at(engine) == clock.now + timedelta(minutes=1)


async def test_a_refused_email_is_not_retried(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink
) -> None:
    notification_id = await queue(engine)
    smtp_sink.refused["mira@example.com"] = "550 5.1.1 Nobody here"

    await deliver(notification_id)
    smtp_sink.refused.clear()
    await deliver(notification_id)

    assert smtp_sink.emails == []
    found = await row(engine, notification_id)
    assert (found.status, found.smtp_answer) == (EmailStatus.FAILED, "550 5.1.1 Nobody here")
    assert await due_at(engine) is None


async def test_an_email_in_doubt_is_resent_exactly_once(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    smtp_sink.hang_up = True

    await deliver(notification_id)
    found = await row(engine, notification_id)
    assert (found.status, found.in_doubt) == (EmailStatus.QUEUED, True)
    assert await due_at(engine) == NOON + timedelta(minutes=1)
    for _ in range(3):
        clock.move(minutes=5)
        await deliver(notification_id)

    first, second = smtp_sink.emails
    assert first["Message-ID"] == second["Message-ID"]
    assert first.as_bytes() == second.as_bytes()
    found = await row(engine, notification_id)
    assert (found.status, found.in_doubt, found.attempts) == (EmailStatus.FAILED, True, 2)
    assert await due_at(engine) is None


async def test_an_email_in_doubt_that_is_sent_stays_in_doubt(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    smtp_sink.hang_up = True
    await deliver(notification_id)
    smtp_sink.hang_up = False
    clock.move(minutes=1)

    await deliver(notification_id)

    assert len({email["Message-ID"] for email in smtp_sink.emails}) == 1
    found = await row(engine, notification_id)
    assert (found.status, found.in_doubt) == (EmailStatus.SENT, True)


async def test_another_worker_takes_over_when_the_lease_of_a_dead_worker_ends(
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
    assert (found.status, found.in_doubt, found.attempts) == (EmailStatus.SENT, True, 2)
    assert len(smtp_sink.emails) == 1


async def test_an_email_that_kills_every_worker_fails(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    for _ in range(2):
        await claim(engine, notification_id, clock.now)
        clock.move(minutes=2)

    await deliver(notification_id)

    assert smtp_sink.attempts == 0
    found = await row(engine, notification_id)
    assert (found.status, found.in_doubt) == (EmailStatus.FAILED, True)
    assert await due_at(engine) is None


@pytest.mark.parametrize("outcome", [asyncio.CancelledError(), RuntimeError("bug")])
async def test_an_interrupted_attempt_leaves_the_lease(
    engine: AsyncEngine,
    deliver: Callable[..., Any],
    smtp_sink: SmtpSink,
    clock: Clock,
    outcome: BaseException,
) -> None:
    notification_id = await queue(engine)

    with pytest.raises(type(outcome)):
        await deliver(notification_id, mailer=FailingMailer(outcome))
    clock.move(minutes=1)
    await deliver(notification_id)

    assert len(smtp_sink.emails) == 1
    assert (await row(engine, notification_id)).in_doubt


@pytest.mark.parametrize(
    "outcome",
    [
        DeliveryOutcome.DEFERRED,
        DeliveryOutcome.REFUSED,
        DeliveryOutcome.IN_DOUBT,
        DeliveryOutcome.NOT_ATTEMPTED,
    ],
)
async def test_a_result_without_the_lease_is_ignored(
    engine: AsyncEngine, clock: Clock, outcome: DeliveryOutcome
) -> None:
    notification_id = await queue(engine)
    stale = await claim(engine, notification_id, NOON)
    clock.move(minutes=2)
    await claim(engine, notification_id, clock.now)

    await record(engine, Attempt(stale, outcome, "451 Later"), now=clock.now)

    found = await row(engine, notification_id)
    assert (found.status, found.lease_until) == (EmailStatus.SENDING, clock.now + delivery.LEASE)


async def test_a_sent_result_is_recorded_without_the_lease(
    engine: AsyncEngine, clock: Clock
) -> None:
    notification_id = await queue(engine)
    stale = await claim(engine, notification_id, NOON)
    clock.move(minutes=2)
    current = await claim(engine, notification_id, clock.now)

    await record(engine, Attempt(stale, DeliveryOutcome.SENT, "250 OK"), now=clock.now)
    await record(engine, Attempt(current, DeliveryOutcome.DEFERRED, "451 Later"), now=clock.now)

    found = await row(engine, notification_id)
    assert (found.status, found.smtp_answer, found.in_doubt) == (EmailStatus.SENT, "250 OK", True)


async def test_an_invalid_address_fails_at_once(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink
) -> None:
    notification_id = await queue(engine, "mira@example.com\r\nRCPT TO:<eve@example.com>")

    await deliver(notification_id)

    assert smtp_sink.attempts == 0
    found = await row(engine, notification_id)
    assert (found.status, found.smtp_answer) == (
        EmailStatus.FAILED,
        "This e-mail cannot be sent: not a valid e-mail address.",
    )


async def test_an_email_that_cannot_be_rendered_fails_and_the_error_is_logged(
    engine: AsyncEngine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with transaction(engine) as conn:
        order_id = await add_order(conn, {await add_book(conn): 1}, number="7Q4M-XK2P")
        (notification_id,) = await notifications.queue_for_orders(
            conn, [(order_id, "order-placed", None, "mira@example.com")], now=NOON
        )
    tokens: dict[str, str] = {}
    broken_store = replace(STORE, access_token=tokens.__getitem__)
    mailer = FailingMailer(AssertionError("nothing to send"))

    await DeliveryWorker(engine, mailer, broken_store, clock=clock).deliver([notification_id])

    assert (await row(engine, notification_id)).status == EmailStatus.FAILED
    assert await due_at(engine) is None
    assert f"could not render notification {notification_id}" in caplog.messages


async def test_a_message_about_an_unknown_notification_changes_nothing(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink
) -> None:
    async with transaction(engine) as conn:
        await outbox.add(conn, outbox.Task.SEND_NOTIFICATIONS, [999], now=NOON)

    await deliver(999)

    assert smtp_sink.attempts == 0
    assert await due_at(engine) is None


async def test_the_email_of_an_order_lists_its_items(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink
) -> None:
    async with transaction(engine) as conn:
        order_id = await add_order(conn, {await add_book(conn): 2}, number="7Q4M-XK2P")
        (notification_id,) = await notifications.queue_for_orders(
            conn, [(order_id, "order-placed", None, "mira@example.com")], now=NOON
        )

    await deliver(notification_id)

    (email,) = smtp_sink.emails
    text: Any = email.get_body(("plain",))
    assert email["Subject"] == "We have received your order 7Q4M-XK2P"
    assert "Dune ..." in text.get_content()
    assert "€22.90" in text.get_content()
    assert "?access_token=7q4m-xk2p" in text.get_content()


def test_a_lease_is_longer_than_the_longest_attempt() -> None:
    longest = delivery.SLOT_TIMEOUT_S + smtp.DEADLINE_S + delivery.DATABASE_OUTAGE_TIMEOUT_S
    assert delivery.LEASE.total_seconds() > longest


async def test_every_attempt_at_an_email_has_the_same_message_id(
    engine: AsyncEngine, deliver: Callable[..., Any], smtp_sink: SmtpSink, clock: Clock
) -> None:
    notification_id = await queue(engine)
    async with transaction(engine) as conn:
        expected = emails.message_id(await notifications.get_email(conn, notification_id), STORE)
    smtp_sink.hang_up = True
    await deliver(notification_id)
    smtp_sink.hang_up = False
    clock.move(minutes=1)
    await deliver(notification_id)
    async with transaction(engine) as conn:
        await notifications.resend(conn, notification_id, user_id=None, now=clock.now)
    await deliver(notification_id)

    assert [email["Message-ID"] for email in smtp_sink.emails] == [expected] * 3
