"""The relay: a loop in every worker process that republishes overdue tasks.

Messages may be lost anywhere; the relay finds the unfinished rows and publishes them again.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import transaction
from bookstore.database.failpoints import failpoint
from bookstore.operations import housekeeping
from bookstore.tasks import heartbeats, outbox
from bookstore.tasks.publisher import BUFFER_SIZE, QUEUES, Publisher

log = logging.getLogger(__name__)

PASS_INTERVAL_S = 1.0
#: Rows claimed in one pass.  Half of the publisher's buffer stays free for the tasks that this
#: process itself publishes meanwhile.
BATCH_SIZE = BUFFER_SIZE // 2
#: After a full pass more rows are waiting.  The publisher has sent this batch by then.
FULL_PASS_INTERVAL_S = 0.1
#: A queue with more messages than this most likely still has the message about an overdue row.
LONG_QUEUE = 100
#: With such a long queue, the relay publishes a row only the first time that it is due (there may
#: be no message yet), and then every 20th time, which is every ten minutes, in case the message was
#: lost.
LONG_QUEUE_PERIOD = 20
#: How often expired data is deleted.
HOUSEKEEPING_INTERVAL = timedelta(hours=1)


class Relay:
    """Claims overdue tasks and publishes them while the broker is available."""

    def __init__(
        self, engine: AsyncEngine, publisher: Publisher, *, name: str, clock: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._publisher = publisher
        self._name = name
        self._clock = clock

    async def run(self, *, only_process: bool) -> None:
        """Repeat passes until cancelled.

        `only_process` says that messages exist only in the memory of this process.  Then all
        messages from before this start are lost, and the first pass publishes their tasks at once.
        """
        ahead = outbox.GRACE if only_process else timedelta(0)
        tidied_at: datetime | None = None
        while True:
            published = 0
            try:
                if tidied_at is None or self._clock() >= tidied_at + HOUSEKEEPING_INTERVAL:
                    tidied_at = self._clock()
                    await self.tidy()
                published = await self.publish_due(ahead=ahead)
                ahead = timedelta(0)
            except Exception as error:  # The loop must survive every error.
                log.warning("relay: %s", type(error).__name__)
            await asyncio.sleep(PASS_INTERVAL_S if published < BATCH_SIZE else FULL_PASS_INTERVAL_S)

    async def tidy(self) -> None:
        """Delete expired data.  Safe for several relays at the same time."""
        async with transaction(self._engine) as conn:
            await housekeeping.run(conn, now=self._clock())

    async def publish_due(self, *, ahead: timedelta = timedelta(0)) -> int:
        """Publish rows that are due, or will be within `ahead`; the number of claimed rows."""
        now = self._clock()
        async with transaction(self._engine) as conn:
            await heartbeats.beat(conn, self._name, now=now)
        if not self._publisher.ready:
            return 0  # The rows stay due, and are published when the broker is available again.
        async with transaction(self._engine) as conn:
            due = await outbox.claim_due(conn, now=now, limit=BATCH_SIZE, ahead=ahead)
        if due:
            failpoint("R2")
            waiting = await self._publisher.waiting()
            urgent = [
                ref
                for ref, publish_count in due
                if waiting[QUEUES[ref.task]] < LONG_QUEUE or publish_count % LONG_QUEUE_PERIOD == 0
            ]
            self._publisher.publish(urgent)
            failpoint("R5")
        return len(due)
