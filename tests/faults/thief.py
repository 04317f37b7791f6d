"""A consumer that takes every message from the broker and loses it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika

from bookstore.tasks.publisher import QUEUES, queue_arguments

#: RabbitMQ delivers to consumers with a higher priority first.
BEFORE_ALL_OTHERS = {"x-priority": 10}


class Thief:
    """Counts the lost messages."""

    def __init__(self) -> None:
        self.taken = 0

    async def take(self, _message: aio_pika.abc.AbstractIncomingMessage) -> None:
        self.taken += 1


@asynccontextmanager
async def stealing(url: str) -> AsyncIterator[Thief]:
    """Publishers get confirms and workers stay connected, but receive nothing."""
    thief = Thief()
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for name in QUEUES.values():
            queue = await channel.declare_queue(
                name, durable=True, arguments=queue_arguments("classic", name)
            )
            await queue.consume(thief.take, no_ack=True, arguments=BEFORE_ALL_OTHERS)
        await asyncio.sleep(0.5)  # Messages that were in flight before are delivered.
        yield thief
