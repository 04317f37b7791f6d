"""Threads for e-mails, and messages that find no free thread."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from dramatiq import Message, Worker

from actors.broker import broker, workplace
from actors.embedded import THREADS, workers
from actors.notifications import MAX_BUSY_RETRIES
from actors.workplace import email_threads
from bookstore.database import engine as db
from bookstore.notifications import notifications
from bookstore.notifications.notifications import EmailStatus
from tests.servers.process import wait_until


async def queue_email(engine):
    async with db.transaction(engine) as conn:
        return await notifications.queue(
            conn,
            "message",
            recipient="mira@example.com",
            subject="Hello",
            body="There",
            now=datetime.now(UTC),
        )


def send_message(notification_id, **options):
    broker.enqueue(
        Message("notifications", "send_notifications", ([notification_id],), {}, options)
    )


async def status(engine, notification_id):
    async with db.reading(engine) as conn:
        return (await notifications.get(conn, notification_id)).email_status


async def test_a_message_without_a_free_thread_is_retried_and_finally_left_to_the_relay(
    engine, settings, smtp_sink
):
    await queue_email(engine)
    async with workers(replace(settings, smtp_url=smtp_sink.url)):
        # After the first e-mail the relay's first pass is over, which publishes all tasks.
        await asyncio.to_thread(smtp_sink.wait_for, 1)
        smtp_sink.delay_s = 2
        for _ in range(THREADS // 2):
            send_message(await queue_email(engine))
        await asyncio.to_thread(wait_until, workplace.email_threads.locked, 10)
        retried, dropped = await queue_email(engine), await queue_email(engine)

        send_message(retried)
        send_message(dropped, retries=MAX_BUSY_RETRIES)
        await asyncio.to_thread(smtp_sink.wait_for, THREADS // 2 + 2)
        await asyncio.sleep(0.5)

        assert await status(engine, retried) is EmailStatus.SENT
        assert await status(engine, dropped) is EmailStatus.QUEUED


@pytest.mark.parametrize(
    ("queues", "threads"), [(None, 4), ({"orders", "notifications"}, 4), ({"notifications"}, 8)]
)
def test_emails_use_all_threads_only_in_a_worker_for_e_mails(queues, threads):
    worker = Worker(broker, queues=queues, worker_threads=8)

    assert email_threads(worker) == threads
