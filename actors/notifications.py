"""The actor that sends e-mails."""

from dramatiq import Retry, actor
from dramatiq.middleware import CurrentMessage

from actors.broker import MINUTE, RETRIES, SECOND, broker, workplace

#: The delay of a message when too many threads already wait for the mail server.
BUSY_DELAY = 1 * SECOND
#: After this many retries the message is dropped: by then the relay has republished its e-mails,
#: and further retries would only add duplicates.
MAX_BUSY_RETRIES = 30


@actor(broker=broker, queue_name="notifications", time_limit=10 * MINUTE, **RETRIES)
async def send_notifications(notification_ids: list[int]) -> None:
    """Send e-mails, a few at a time.  Safe to repeat: each is claimed with a lease.

    A slow mail server never blocks all threads of a worker, because orders need them.
    """
    if workplace.email_threads.locked():
        message = CurrentMessage.get_current_message()
        if message is not None and message.options.get("retries", 0) >= MAX_BUSY_RETRIES:
            return
        raise Retry(delay=BUSY_DELAY)
    async with workplace.email_threads:
        await workplace.delivery_worker.deliver(notification_ids)
