"""Letters beside each other, and hints about them that nobody has a thread for."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from dramatiq import Message, Worker

from actors.broker import broker, workplace
from actors.embedded import THREADS, workers
from actors.notifications import BUSY_TIMES
from actors.workplace import email_threads
from bookstore.database import engine as db
from bookstore.notifications import notifications
from bookstore.notifications.notifications import Status
from tests.servers.process import wait_until


async def letter(engine):
    async with db.transaction(engine) as conn:
        return await notifications.queue(
            conn,
            "message",
            recipient="mira@example.com",
            subject="Hello",
            body="There",
            now=datetime.now(UTC),
        )


def tell_of(notification_id, **options):
    broker.enqueue(
        Message("notifications", "send_notifications", ([notification_id],), {}, options)
    )


async def status(engine, notification_id):
    async with db.reading(engine) as conn:
        return (await notifications.get(conn, notification_id)).email_status


async def test_a_list_that_finds_no_thread_comes_again_for_a_while_and_is_then_left_to_the_relay(
    engine, settings, smtp_sink
):
    await letter(engine)
    async with workers(replace(settings, smtp_url=smtp_sink.url)):
        # The relay's first pass, which offers whatever there is, is over with it.
        await asyncio.to_thread(smtp_sink.wait_for, 1)
        smtp_sink.delay_s = 2
        for _ in range(THREADS // 2):
            tell_of(await letter(engine))
        await asyncio.to_thread(wait_until, workplace.email_threads.locked, 10)
        patient, tired = await letter(engine), await letter(engine)

        tell_of(patient)
        tell_of(tired, retries=BUSY_TIMES)
        await asyncio.to_thread(smtp_sink.wait_for, THREADS // 2 + 2)
        await asyncio.sleep(0.5)

        assert await status(engine, patient) is Status.SENT
        assert await status(engine, tired) is Status.QUEUED


@pytest.mark.parametrize(
    ("queues", "threads"), [(None, 4), ({"orders", "notifications"}, 4), ({"notifications"}, 8)]
)
def test_mail_has_all_threads_only_where_there_is_no_other_work(queues, threads):
    worker = Worker(broker, queues=queues, worker_threads=8)

    assert email_threads(worker) == threads
