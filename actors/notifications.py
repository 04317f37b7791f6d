"""Letters are sent."""

from dramatiq import actor

from actors.broker import MINUTE, SECOND, broker, workplace


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
    await workplace.letters.send(notification_ids)
