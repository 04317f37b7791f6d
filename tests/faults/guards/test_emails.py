"""Guards against sending an e-mail twice at once, and against duplicates that differ."""

import asyncio
from datetime import timedelta
from itertools import count

from bookstore.database import engine as db
from bookstore.notifications import delivery, emails, notifications, smtp
from bookstore.notifications.emails import StoreFacts
from tests.factories import NOON
from tests.faults.guards.scene import (
    clock,
)

_numbers = count(1)


class SlowMailer:
    """Slow, and may disconnect during the first e-mails without an answer."""

    def __init__(self, silent=0):
        self.ids = []
        self._silent = silent

    async def send(self, mail):
        self.ids.append(mail.message_id)
        await asyncio.sleep(0.2)
        if len(self.ids) <= self._silent:
            raise smtp.InDoubt("No answer in time.")
        return "250 OK"


async def one_email(engine):
    async with db.transaction(engine) as conn:
        return await notifications.queue(
            conn, "message", recipient="mira@example.com", subject="Hello", body="There", now=NOON
        )


async def test_notification_lease(engine, settings, guarded, monkeypatch):
    if not guarded:
        monkeypatch.setattr(delivery, "LEASE", timedelta(0))
    mailer, store = SlowMailer(), StoreFacts.of(settings)
    email = await one_email(engine)

    async def deliver_after(seconds):
        await asyncio.sleep(seconds)
        await delivery.DeliveryWorker(engine, mailer, store, clock=clock).deliver([email])

    await asyncio.gather(deliver_after(0), deliver_after(0.1))

    assert (len(mailer.ids) == 1) == guarded


async def test_same_message_id(engine, settings, guarded, monkeypatch):
    if not guarded:
        monkeypatch.setattr(
            emails, "message_id", lambda email, store: f"<n{next(_numbers)}@example.com>"
        )
    mailer, store = SlowMailer(silent=1), StoreFacts.of(settings)
    email = await one_email(engine)

    for _ in range(2):
        await delivery.DeliveryWorker(engine, mailer, store, clock=clock).deliver([email])

    assert len(mailer.ids) == 2
    assert (len(set(mailer.ids)) == 1) == guarded
