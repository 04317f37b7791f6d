"""The actor that confirms or rejects placed orders."""

from dramatiq import actor

from actors.broker import MINUTE, SECOND, broker, message_id, workplace
from bookstore.database.failpoints import failpoint


@actor(
    broker=broker,
    queue_name="orders",
    max_retries=None,
    min_backoff=1 * SECOND,
    max_backoff=1 * MINUTE,
    time_limit=1 * MINUTE,
)
async def process_orders(order_ids: list[int]) -> None:
    """Confirm or reject placed orders, in one transaction.  Safe to repeat."""
    failpoint("P1", order_ids)
    await workplace.orders.process(order_ids, message_id())
    failpoint("P7", order_ids)
