"""Letters are sent."""

from dramatiq import Retry, actor
from dramatiq.middleware import CurrentMessage

from actors.broker import MINUTE, SECOND, broker, workplace

#: When a list comes again that found too many others waiting for the mail server.
BUSY_PAUSE = 1 * SECOND
#: How often, until the relay has offered again what is in it: else the hints would pile up.
BUSY_TIMES = 30


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
    if workplace.email_threads.locked():
        message = CurrentMessage.get_current_message()
        if message is not None and message.options.get("retries", 0) >= BUSY_TIMES:
            return
        raise Retry(delay=BUSY_PAUSE)
    async with workplace.email_threads:
        await workplace.delivery_worker.deliver(notification_ids)
