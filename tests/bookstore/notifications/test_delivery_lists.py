"""Letters travel in lists: each ends in its own way, and none holds up the others."""

import asyncio

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import reading
from bookstore.database.tables import tasks as task_table
from bookstore.notifications import smtp
from bookstore.notifications.delivery import DeliveryWorker
from bookstore.notifications.mime import Mail
from bookstore.notifications.notifications import Status
from bookstore.notifications.smtp import SmtpMailer
from tests.bookstore.notifications.test_delivery import STORE, Clock, queue, row
from tests.bookstore.notifications.test_smtp import Script
from tests.counting import counted
from tests.servers.smtp import SmtpSink


class Choosy:
    """A mailer that ends some letters another way, by their recipient."""

    def __init__(self, ends: dict[str, BaseException]) -> None:
        self.ends = ends
        self.sent: list[str] = []
        self.at_once = self.most_at_once = 0

    async def send(self, mail: Mail) -> str:
        recipient = mail.recipient
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        if recipient in self.ends:
            raise self.ends[recipient]
        self.sent.append(recipient)
        return "250 OK"

    async def close(self) -> None:
        """Nothing is open."""


class Shut(Choosy):
    """A mailer that takes no letter before it is opened."""

    def __init__(self) -> None:
        super().__init__({})
        self.opened, self.knocked = asyncio.Event(), asyncio.Event()

    async def send(self, mail: Mail) -> str:
        self.knocked.set()
        await self.opened.wait()
        return await super().send(mail)


async def deliver(engine: AsyncEngine, mailer: smtp.Mailer, *notification_ids: int) -> None:
    """What a worker does about a list."""
    await DeliveryWorker(engine, mailer, STORE, clock=Clock()).deliver(notification_ids)


async def test_each_letter_of_a_list_ends_in_its_own_way(engine: AsyncEngine) -> None:
    ends: dict[str, BaseException] = {
        "later@example.com": smtp.TryLater("451 Later"),
        "never@example.com": smtp.Refused("550 Never"),
        "perhaps@example.com": smtp.InDoubt("No answer in time."),
    }
    ids = {name: await queue(engine, name) for name in ["mira@example.com", *ends]}

    await deliver(engine, Choosy(ends), *ids.values())

    found = {name: await row(engine, notification_id) for name, notification_id in ids.items()}
    assert {name: (it.status, it.smtp_answer, it.in_doubt) for name, it in found.items()} == {
        "mira@example.com": (Status.SENT, "250 OK", False),
        "later@example.com": (Status.QUEUED, "451 Later", False),
        "never@example.com": (Status.FAILED, "550 Never", False),
        "perhaps@example.com": (Status.QUEUED, "No answer in time.", True),
    }
    async with reading(engine) as conn:
        left = (await conn.execute(select(task_table.c.ref_id))).scalars().all()
    assert sorted(left) == sorted([ids["later@example.com"], ids["perhaps@example.com"]])


async def test_a_list_costs_a_handful_of_statements(engine: AsyncEngine) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(30)]
    mailer = Choosy({})

    with counted(engine) as statements:
        await deliver(engine, mailer, *ids)

    assert len(mailer.sent) == 30
    assert mailer.most_at_once == smtp.CONNECTIONS
    # At worst one of the notes is written while letters are still on their way.
    assert len(statements) <= 10


async def test_one_that_breaks_its_sender_does_not_cut_off_its_neighbours(
    engine: AsyncEngine,
) -> None:
    bad = await queue(engine, "bad@example.com")
    good = [await queue(engine, f"reader-{number}@example.com") for number in range(6)]

    with pytest.raises(RuntimeError):
        await deliver(engine, Choosy({"bad@example.com": RuntimeError("bug")}), bad, *good)

    assert {(await row(engine, it)).status for it in good} == {Status.SENT}
    assert (await row(engine, bad)).status == Status.SENDING


async def test_letters_that_a_slow_mail_server_has_no_time_for_are_given_back(
    engine: AsyncEngine, smtp_sink: SmtpSink
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(9)]
    smtp_sink.delay_s = 0.4
    mailer = SmtpMailer(smtp_sink.url, deadline_s=5)

    hasty = DeliveryWorker(engine, mailer, STORE, clock=Clock(), turn_s=0.1, list_s=0.2)

    await hasty.deliver(ids)
    await mailer.close()

    found = [await row(engine, notification_id) for notification_id in ids]
    arrived = [it for it in found if it.status == Status.SENT]
    waiting = [it for it in found if it.status == Status.QUEUED]
    assert len(arrived) == smtp.CONNECTIONS
    assert {(it.attempts, it.in_doubt, it.lease_until) for it in waiting} == {(0, False, None)}
    assert len(arrived) + len(waiting) == len(ids)


async def test_nobody_tries_thousands_of_letters_on_a_mail_server_that_is_away(
    engine: AsyncEngine, smtp_sink: SmtpSink
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(30)]
    first, second = ids[:20], ids[20:]
    mailer = SmtpMailer(smtp_sink.url)
    delivery_worker = DeliveryWorker(engine, mailer, STORE, clock=Clock(), away_s=1)
    smtp_sink.stop()

    await delivery_worker.deliver(first)
    with counted(engine) as statements:
        await delivery_worker.deliver(first)
        await delivery_worker.deliver(second)
    found = [await row(engine, notification_id) for notification_id in ids]
    smtp_sink.start()
    await asyncio.sleep(1)
    await delivery_worker.deliver(ids)
    await mailer.close()

    tried = [it for it in found if it.attempts]
    assert 1 <= len(tried) <= smtp.CONNECTIONS
    assert {(it.status, it.lease_until, it.in_doubt) for it in found} == {
        (Status.QUEUED, None, False)
    }
    assert statements == []
    assert len(smtp_sink.letters) == len(ids)
    assert {(await row(engine, it)).status for it in ids} == {Status.SENT}


#: What a server says that lets us in after a password.
ENTRY = {"EHLO": "250-script.test\r\n250 AUTH PLAIN", "AUTH": "235 2.7.0 Welcome"}


@pytest.mark.parametrize(
    "answers",
    [
        {"": "421 4.3.2 Too busy"},
        {"EHLO": "421 4.3.2 Too busy", "HELO": "421 4.3.2 Too busy"},
        {"AUTH": "535 5.7.8 Wrong"},
    ],
    ids=["greeting", "name", "password"],
)
async def test_nobody_tries_thousands_of_letters_on_a_mail_server_that_lets_nobody_in(
    engine: AsyncEngine, answers: dict[str, str]
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(30)]
    async with Script({**ENTRY, **answers}).running() as server:
        mailer = SmtpMailer(server.url.replace("//", "//shop:secret@"))
        delivery_worker = DeliveryWorker(engine, mailer, STORE, clock=Clock(), away_s=0.5)

        await delivery_worker.deliver(ids)
        knocks = server.connections
        found = [await row(engine, notification_id) for notification_id in ids]
        server.answers = {**ENTRY}
        await asyncio.sleep(0.5)
        await delivery_worker.deliver([it.id for it in found if not it.attempts])
        await mailer.close()

    assert 1 <= knocks <= smtp.CONNECTIONS
    assert sum(it.attempts for it in found) == knocks
    assert {(it.status, it.lease_until) for it in found} == {(Status.QUEUED, None)}
    assert server.said.count(".") == len(ids) - knocks


async def test_a_letter_put_off_for_itself_holds_up_no_other(engine: AsyncEngine) -> None:
    busy = await queue(engine, "later@example.com")
    others = [await queue(engine, f"reader-{number}@example.com") for number in range(6)]
    mailer = Choosy({"later@example.com": smtp.TryLater("421 Too many connections")})
    delivery_worker = DeliveryWorker(engine, mailer, STORE, clock=Clock())

    await delivery_worker.deliver([busy])
    await delivery_worker.deliver(others)

    assert len(mailer.sent) == len(others)


async def test_a_postman_who_is_to_stop_ends_the_letters_he_began_and_gives_back_the_others(
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
    assert statuses.count(Status.SENT) == len(smtp_sink.letters) <= smtp.CONNECTIONS
    assert statuses.count(Status.QUEUED) == len(ids) - len(smtp_sink.letters)


async def test_lists_that_ask_for_the_same_letters_at_once_send_each_of_them_once(
    engine: AsyncEngine, smtp_sink: SmtpSink
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(8)]
    mailer = SmtpMailer(smtp_sink.url, deadline_s=5)
    one, other = (DeliveryWorker(engine, mailer, STORE, clock=Clock()) for _ in range(2))

    await asyncio.gather(*(it.deliver(ids) for it in (one, one, other, other)))
    await mailer.close()

    assert len(smtp_sink.letters) == len(ids)
    assert {(await row(engine, it)).status for it in ids} == {Status.SENT}


async def test_lists_that_come_while_letters_stand_in_line_are_claimed_together(
    engine: AsyncEngine,
) -> None:
    ids = [await queue(engine, f"reader-{number}@example.com") for number in range(40)]
    mailer = Shut()
    delivery_worker = DeliveryWorker(engine, mailer, STORE, clock=Clock())

    with counted(engine) as statements:
        async with asyncio.TaskGroup() as group:
            group.create_task(delivery_worker.deliver(ids[:30]))
            await mailer.knocked.wait()
            for notification_id in ids[30:]:
                group.create_task(delivery_worker.deliver([notification_id]))
                await asyncio.sleep(0.02)
            mailer.opened.set()

    assert len(mailer.sent) == len(ids)
    # The first list, the one that was next, and all the others.
    assert sum("status = 'sending', " in it for it in statements) == 3
