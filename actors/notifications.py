"""Letters are sent."""

import asyncio

from dramatiq import actor

from actors.broker import MINUTE, SECOND, broker, workplace
from actors.workplace import clock
from bookstore import postman

#: Letters of one list on their way at once, which is what the mailer keeps connections for.
AT_ONCE = 4


@actor(
    broker=broker,
    queue_name="notifications",
    max_retries=None,
    min_backoff=1 * SECOND,
    max_backoff=1 * MINUTE,
    time_limit=10 * MINUTE,
)
async def send_notifications(notification_ids: list[int]) -> None:
    """Send letters, a few at a time.  Safe to repeat: each is claimed with a lease."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def send(notification_id: int) -> None:
        async with turn:
            await postman.deliver(
                workplace.engine, workplace.mailer, workplace.store, notification_id, clock=clock
            )

    # One that fails must not cut the others off in the middle of a letter.
    outcomes = await asyncio.gather(*map(send, notification_ids), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
