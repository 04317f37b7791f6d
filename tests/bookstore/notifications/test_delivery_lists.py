"""E-mails in lists: each has its own outcome, and none delays the others."""

import asyncio

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import reading
from bookstore.database.tables import tasks as task_table
from bookstore.notifications import smtp
from bookstore.notifications.delivery import DeliveryWorker
from bookstore.notifications.mime import OutgoingEmail
from bookstore.notifications.notifications import EmailStatus
from bookstore.notifications.smtp import SmtpMailer
from tests.bookstore.notifications.email_queue import STORE, Clock, queue, row
from tests.bookstore.notifications.scripted_server import Script
from tests.counting import count_statements
from tests.servers.smtp import SmtpSink


class SelectiveMailer:
    """A mailer that raises an error for some recipients."""

    def __init__(self, errors: dict[str, BaseException]) -> None:
        self.errors = errors
        self.sent: list[str] = []
        self.at_once = self.most_at_once = 0

    async def send(self, email: OutgoingEmail) -> str:
        recipient = email.recipient
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        if recipient in self.errors:
            raise self.errors[recipient]
        self.sent.append(recipient)
        return "250 OK"

    async def close(self) -> None:
        """Nothing is open."""


class PausedMailer(SelectiveMailer):
    """A mailer that sends nothing until `resumed` is set."""

    def __init__(self) -> None:
        super().__init__({})
        self.resumed, self.attempted = asyncio.Event(), asyncio.Event()

    async def send(self, email: OutgoingEmail) -> str:
        self.attempted.set()
        await self.resumed.wait()
        return await super().send(email)


async def deliver(engine: AsyncEngine, mailer: smtp.Mailer, *notification_ids: int) -> None:
    """Delivers a list like a worker."""
    await DeliveryWorker(engine, mailer, STORE, clock=Clock()).deliver(notification_ids)


async def test_each_email_of_a_list_has_its_own_outcome(engine: AsyncEngine) -> None:
    errors: dict[str, BaseException] = {
        "later@example.com": smtp.TryLater("451 Later"),
        "never@example.com": smtp.Refused("550 Never"),
        "perhaps@example.com": smtp.InDoubt("No answer in time."),
    }
    ids = {name: await queue(engine, name) for name in ["mira@example.com", *errors]}

    await deliver(engine, SelectiveMailer(errors), *ids.values())

    found = {name: await row(engine, notification_id) for name, notification_id in ids.items()}
    assert {name: (it.status, it.smtp_answer, it.in_doubt) for name, it in found.items()} == {
        "mira@example.com": (EmailStatus.SENT, "250 OK", False),
        "later@example.com": (EmailStatus.QUEUED, "451 Later", False),
        "never@example.com": (EmailStatus.FAILED, "550 Never", False),
        "perhaps@example.com": (EmailStatus.QUEUED, "No answer in time.", True),
    }
    async with reading(engine) as conn:
        unfinished = (await conn.execute(select(task_table.c.ref_id))).scalars().all()
    assert sorted(unfinished) == sorted([ids["later@example.com"], ids["perhaps@example.com"]])


async def test_a_list_needs_at_most_ten_statements(engine: AsyncEngine) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(30)]
    mailer = SelectiveMailer({})

    with count_statements(engine) as statements:
        await deliver(engine, mailer, *ids)

    assert len(mailer.sent) == 30
    assert mailer.most_at_once == smtp.MAX_CONNECTIONS
    # At most, results are recorded once while other e-mails are still being sent.
    assert len(statements) <= 10


async def test_an_unexpected_error_does_not_cancel_the_other_emails(
    engine: AsyncEngine,
) -> None:
    bad = await queue(engine, "bad@example.com")
    good = [await queue(engine, f"reader-{number}@example.com") for number in range(6)]

    with pytest.raises(RuntimeError):
        await deliver(engine, SelectiveMailer({"bad@example.com": RuntimeError("bug")}), bad, *good)

    assert {(await row(engine, it)).status for it in good} == {EmailStatus.SENT}
    assert (await row(engine, bad)).status == EmailStatus.SENDING


async def test_emails_without_a_slot_at_a_slow_mail_server_are_released(
    engine: AsyncEngine, smtp_sink: SmtpSink
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(9)]
    smtp_sink.delay_s = 0.4
    mailer = SmtpMailer(smtp_sink.url, deadline_s=5)

    delivery_worker = DeliveryWorker(
        engine, mailer, STORE, clock=Clock(), slot_timeout_s=0.1, batch_deadline_s=0.2
    )

    await delivery_worker.deliver(ids)
    await mailer.close()

    found = [await row(engine, notification_id) for notification_id in ids]
    sent = [it for it in found if it.status == EmailStatus.SENT]
    waiting = [it for it in found if it.status == EmailStatus.QUEUED]
    assert len(sent) == smtp.MAX_CONNECTIONS
    assert {(it.attempts, it.in_doubt, it.lease_until) for it in waiting} == {(0, False, None)}
    assert len(sent) + len(waiting) == len(ids)


async def test_the_circuit_breaker_opens_when_the_mail_server_is_down(
    engine: AsyncEngine, smtp_sink: SmtpSink
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(30)]
    first, second = ids[:20], ids[20:]
    mailer = SmtpMailer(smtp_sink.url)
    delivery_worker = DeliveryWorker(engine, mailer, STORE, clock=Clock(), circuit_breaker_s=1)
    smtp_sink.stop()

    await delivery_worker.deliver(first)
    with count_statements(engine) as statements:
        await delivery_worker.deliver(first)
        await delivery_worker.deliver(second)
    found = [await row(engine, notification_id) for notification_id in ids]
    smtp_sink.start()
    await asyncio.sleep(1)
    await delivery_worker.deliver(ids)
    await mailer.close()

    attempted = [it for it in found if it.attempts]
    assert 1 <= len(attempted) <= smtp.MAX_CONNECTIONS
    assert {(it.status, it.lease_until, it.in_doubt) for it in found} == {
        (EmailStatus.QUEUED, None, False)
    }
    assert statements == []
    assert len(smtp_sink.emails) == len(ids)
    assert {(await row(engine, it)).status for it in ids} == {EmailStatus.SENT}


#: The answers of a server that requires a password.
SIGN_IN = {"EHLO": "250-script.test\r\n250 AUTH PLAIN", "AUTH": "235 2.7.0 Welcome"}


@pytest.mark.parametrize(
    "answers",
    [
        {"": "421 4.3.2 Too busy"},
        {"EHLO": "421 4.3.2 Too busy", "HELO": "421 4.3.2 Too busy"},
        {"AUTH": "535 5.7.8 Wrong"},
    ],
    ids=["greeting", "name", "password"],
)
async def test_the_circuit_breaker_opens_when_the_mail_server_rejects_the_login(
    engine: AsyncEngine, answers: dict[str, str]
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(30)]
    async with Script({**SIGN_IN, **answers}).running() as server:
        mailer = SmtpMailer(server.url.replace("//", "//shop:secret@"))
        delivery_worker = DeliveryWorker(
            engine, mailer, STORE, clock=Clock(), circuit_breaker_s=0.5
        )

        await delivery_worker.deliver(ids)
        connections = server.connections
        found = [await row(engine, notification_id) for notification_id in ids]
        server.answers = {**SIGN_IN}
        await asyncio.sleep(0.5)
        await delivery_worker.deliver([it.id for it in found if not it.attempts])
        await mailer.close()

    assert 1 <= connections <= smtp.MAX_CONNECTIONS
    assert sum(it.attempts for it in found) == connections
    assert {(it.status, it.lease_until) for it in found} == {(EmailStatus.QUEUED, None)}
    assert server.commands.count(".") == len(ids) - connections


async def test_a_deferred_email_does_not_open_the_circuit_breaker(engine: AsyncEngine) -> None:
    busy = await queue(engine, "later@example.com")
    others = [await queue(engine, f"reader-{number}@example.com") for number in range(6)]
    mailer = SelectiveMailer({"later@example.com": smtp.TryLater("421 Too many connections")})
    delivery_worker = DeliveryWorker(engine, mailer, STORE, clock=Clock())

    await delivery_worker.deliver([busy])
    await delivery_worker.deliver(others)

    assert len(mailer.sent) == len(others)


async def test_a_stopping_worker_finishes_the_emails_being_sent_and_releases_the_others(
    engine: AsyncEngine, smtp_sink: SmtpSink
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(9)]
    smtp_sink.delay_s = 0.5
    mailer = SmtpMailer(smtp_sink.url, deadline_s=5)
    delivery_worker = DeliveryWorker(engine, mailer, STORE, clock=Clock())
    delivering = asyncio.create_task(delivery_worker.deliver(ids))
    await asyncio.sleep(0.3)

    delivery_worker.stop()
    await asyncio.wait_for(delivering, 3)
    await mailer.close()

    statuses = [(await row(engine, notification_id)).status for notification_id in ids]
    assert statuses.count(EmailStatus.SENT) == len(smtp_sink.emails) <= smtp.MAX_CONNECTIONS
    assert statuses.count(EmailStatus.QUEUED) == len(ids) - len(smtp_sink.emails)


async def test_concurrent_lists_with_the_same_emails_send_each_of_them_once(
    engine: AsyncEngine, smtp_sink: SmtpSink
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(8)]
    mailer = SmtpMailer(smtp_sink.url, deadline_s=5)
    one, other = (DeliveryWorker(engine, mailer, STORE, clock=Clock()) for _ in range(2))

    await asyncio.gather(*(it.deliver(ids) for it in (one, one, other, other)))
    await mailer.close()

    assert len(smtp_sink.emails) == len(ids)
    assert {(await row(engine, it)).status for it in ids} == {EmailStatus.SENT}


async def test_lists_that_arrive_while_emails_wait_are_claimed_together(
    engine: AsyncEngine,
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(40)]
    mailer = PausedMailer()
    delivery_worker = DeliveryWorker(engine, mailer, STORE, clock=Clock())

    with count_statements(engine) as statements:
        async with asyncio.TaskGroup() as group:
            group.create_task(delivery_worker.deliver(ids[:30]))
            await mailer.attempted.wait()
            for notification_id in ids[30:]:
                group.create_task(delivery_worker.deliver([notification_id]))
                await asyncio.sleep(0.02)
            mailer.resumed.set()

    assert len(mailer.sent) == len(ids)
    # The first list, the next one, and all others together.
    assert sum("status = 'sending', " in it for it in statements) == 3
