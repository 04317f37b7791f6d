"""Offers again what is overdue: a loop in every worker process.

Messages may be lost anywhere; a row that nobody finished comes back here.
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
from bookstore.tasks.publisher import BUFFER, QUEUES, Publisher

log = logging.getLogger(__name__)

PASS_S = 1.0
#: Rows claimed in one pass: the publisher has room for them beside what its own process
#: writes meanwhile.
LIMIT = BUFFER // 2
#: When there were as many, more are waiting; the publisher has these away by then.
FULL_PASS_S = 0.1
#: A queue with more messages keeps its workers busy, and most likely those about the row too.
LONG_QUEUE = 100
#: Then only the first turn of a row, for which nothing may be in the queue yet, and each so
#: many-th after it is used: every ten minutes, in case the message was lost.
RARELY = 20
#: How often what has expired is thrown away.
HOUSEKEEPING = timedelta(hours=1)


class Relay:
    """Claims overdue tasks and publishes them, as long as the broker takes them."""

    def __init__(
        self,
        engine: AsyncEngine,
        publisher: Publisher,
        *,
        name: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._publisher = publisher
        self._name = name
        self._clock = clock

    async def run(self, *, alone: bool) -> None:
        """Make one pass after the other until cancelled.

        `alone` says that no other process can have messages: then whatever was offered
        before this start is lost, and the first pass offers it at once.
        """
        ahead = outbox.GRACE if alone else timedelta(0)
        tidied_at: datetime | None = None
        while True:
            offered = 0
            try:
                if tidied_at is None or self._clock() >= tidied_at + HOUSEKEEPING:
                    tidied_at = self._clock()
                    await self.tidy()
                offered = await self.offer_due(ahead=ahead)
                ahead = timedelta(0)
            except Exception as error:  # Whatever it was, the loop must go on.
                log.warning("relay: %s", type(error).__name__)
            await asyncio.sleep(PASS_S if offered < LIMIT else FULL_PASS_S)

    async def tidy(self) -> None:
        """Throw away what has expired; several relays that do so find nothing left."""
        async with transaction(self._engine) as conn:
            await housekeeping.tidy(conn, now=self._clock())

    async def offer_due(self, *, ahead: timedelta = timedelta(0)) -> int:
        """Offer what is due, and what will be within `ahead`; the number of rows."""
        now = self._clock()
        async with transaction(self._engine) as conn:
            await heartbeats.beat(conn, self._name, now=now)
        if not self._publisher.ready:
            return 0  # What is due stays due, and is offered as soon as the broker is back.
        async with transaction(self._engine) as conn:
            due = await outbox.claim_due(conn, now=now, limit=LIMIT, ahead=ahead)
        if due:
            failpoint("R2")
            waiting = await self._publisher.waiting()
            self._publisher.offer(
                [
                    offer
                    for offer, offers in due
                    if waiting[QUEUES[offer.task]] < LONG_QUEUE or offers % RARELY == 0
                ]
            )
            failpoint("R5")
        return len(due)
