"""Letters are sent."""

import asyncio
import time

from dramatiq import Retry, actor

from actors.broker import MINUTE, SECOND, broker, workplace
from actors.workplace import clock
from bookstore import postman

#: When a list comes again that found too many others waiting for the mail server.
BUSY_PAUSE = 1 * SECOND
#: After that no letter of a list is begun: the relay offers again what is left of it.
PATIENCE_S = 300.0


@actor(
    broker=broker,
    queue_name="notifications",
    max_retries=None,
    min_backoff=1 * SECOND,
    max_backoff=1 * MINUTE,
    time_limit=10 * MINUTE,
)
async def send_notifications(notification_ids: list[int]) -> None:
    """Send letters, a few at a time.  Safe to repeat: each is claimed with a lease.

    A slow mail server never holds all threads of a worker: orders need them.
    """
    if workplace.mail_threads.locked():
        raise Retry(delay=BUSY_PAUSE)
    async with workplace.mail_threads:
        # One that fails must not cut the others off in the middle of a letter.
        ends = time.monotonic() + PATIENCE_S
        outcomes = await asyncio.gather(
            *(_send(notification_id, ends) for notification_id in notification_ids),
            return_exceptions=True,
        )
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


async def _send(notification_id: int, ends: float) -> None:
    async with workplace.letters:
        if time.monotonic() < ends:
            await postman.deliver(
                workplace.engine, workplace.mailer, workplace.store, notification_id, clock=clock
            )
