"""The actor that confirms or rejects placed orders."""

from dramatiq import actor

from actors.broker import MINUTE, RETRIES, broker, message_id, workplace
from bookstore.database.failpoints import failpoint


@actor(broker=broker, queue_name="orders", time_limit=1 * MINUTE, **RETRIES)
async def process_orders(order_ids: list[int]) -> None:
    """Confirm or reject placed orders, in one transaction.  Safe to repeat."""
    failpoint("P1", order_ids)
    await workplace.orders.process(order_ids, message_id())
    failpoint("P7", order_ids)
