"""Event streams of single orders; one query serves all subscribers of this process.

A notification, from the exchange or from workers in this process, makes the hub read the events
of the named orders immediately. The hub also polls all watched orders once a second, so a lost
notification delays an event by at most one second.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import reading
from bookstore.orders import NEXT, Event, State, event_feed
from web.live import sse
from web.server.problems import UNAVAILABLE_ERRORS

log = logging.getLogger(__name__)

#: Polling interval for all watched orders. An event whose notification was lost reaches its
#: subscribers within a second, including the query and the transfer.
POLL_S = 0.9
#: Notifications arrive in bursts; all within this time are handled by one query.
BATCH_WINDOW_S = 0.02
_FINAL_STATES = {state for state in State if state not in NEXT}


class OrderSubscriber(sse.Subscriber):
    """A client that watches an order and has its events up to id `seen`."""

    def __init__(self, order_id: int, seen: int, dump: Callable[[Event], str]) -> None:
        super().__init__()
        self.order_id = order_id
        self.seen = seen
        self._dump = dump

    def notify(self, event: Event) -> None:
        """Send the event unless it was sent before. A final state of the order ends the stream."""
        if event.id <= self.seen:
            return
        self.seen = event.id
        self.push(sse.event(event.id, "status", self._dump(event)))
        if event.kind in _FINAL_STATES:
            self.end()


class Hub:
    """Subscribers by order, and the loop that reads events for them.

    The hub uses one connection of `engine` while it reads, and none without subscribers.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._subscribers: dict[int, set[OrderSubscriber]] = {}
        self._due: set[int] = set()
        self._wake = asyncio.Event()
        self._closed = False

    @contextmanager
    def follow(
        self, order_id: int, seen: int, dump: Callable[[Event], str]
    ) -> Iterator[OrderSubscriber]:
        """A subscriber that gets the order's events after id `seen` while the block runs."""
        subscriber = OrderSubscriber(order_id, seen, dump)
        self._subscribers.setdefault(order_id, set()).add(subscriber)
        if self._closed:
            subscriber.end()
        self.notify([order_id])
        try:
            yield subscriber
        finally:
            others = self._subscribers[order_id]
            others.discard(subscriber)
            if not others:
                del self._subscribers[order_id]

    def notify(self, order_ids: Collection[int]) -> None:
        """Read these orders soon: they may have new events. Call it on the event loop."""
        watched = self._subscribers.keys() & set(order_ids)
        if watched:
            self._due |= watched
            self._wake.set()

    def close(self) -> None:
        """End every stream because the process shuts down."""
        self._closed = True
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.end()

    async def run(self) -> None:
        """Read events of watched orders until cancelled."""
        loop = asyncio.get_running_loop()
        unavailable = False
        next_poll = 0.0
        while True:
            await self._wait(until=next_poll)
            due, self._due = self._due, set()
            if loop.time() >= next_poll:
                due = set(self._subscribers)
                next_poll = loop.time() + POLL_S
            try:
                await self._poll(due)
                unavailable = False
            except UNAVAILABLE_ERRORS as error:
                # Events are in the database and only arrive later, so subscribers stay connected.
                if not unavailable:
                    log.warning("cannot read order events: %s", type(error).__name__)
                unavailable = True
            except Exception:  # The loop must survive any error.
                log.exception("cannot read order events")
                await asyncio.sleep(POLL_S)
            await asyncio.sleep(BATCH_WINDOW_S)

    async def _wait(self, *, until: float) -> None:
        """Wait for a notification, but with subscribers no longer than `until`."""
        try:
            async with asyncio.timeout_at(until if self._subscribers else None):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _poll(self, order_ids: Collection[int]) -> None:
        seen = {
            order_id: min(subscriber.seen for subscriber in self._subscribers[order_id])
            for order_id in order_ids
            if order_id in self._subscribers
        }
        if not seen:
            return
        async with reading(self._engine) as conn:
            events_by_order = await event_feed.events_after(conn, seen)
        for order_id, events in events_by_order.items():
            for subscriber in self._subscribers.get(order_id, ()):
                for event in events:
                    subscriber.notify(event)


#: The hub of this application.
HUB = web.AppKey("hub", Hub)
