"""Live feed of all orders' events for staff.

The only order across all orders is the event id, and a smaller id may become visible after a
larger one because transactions commit out of order. The feed therefore reads missing ids again
for ten seconds; after that it assumes that they were never used. The `id` sent to a client is
the watermark: no event up to it is missing. A client that resumes from it misses no event, and
may get the last events a second time.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore.database.engine import reading
from bookstore.orders import event_feed
from bookstore.orders.event_feed import MAX_IDS, FeedEvent
from web.live import sse
from web.server.problems import UNAVAILABLE_ERRORS

log = logging.getLogger(__name__)

POLL_S = 1.0
#: Notifications within this time are handled by one query; staff cannot read faster.
BATCH_WINDOW_S = 0.1
#: Missing ids are read again for this long: longer than any transaction that writes events.
GAP_TIMEOUT_S = 10.0
#: At startup, this many of the latest ids are treated as recently missing.
LOOKBACK = 200


class StaffSubscriber(sse.Subscriber):
    """A staff client. It resumes after event `after`; None starts with new events."""

    def __init__(self, after: int | None, dump: Callable[[FeedEvent], str]) -> None:
        super().__init__()
        self.after = after
        self._dump = dump
        #: Ids above the watermark that this client has already received.
        self._known: set[int] = set()

    def notify(self, events: Sequence[FeedEvent], watermark: int) -> None:
        """Send the events that the client lacks. With them, no id up to `watermark` is missing."""
        new = [it for it in events if it.id not in self._known]
        self._known = {event_id for event_id in self._known if event_id > watermark}
        # Each event carries an id from which a client that is disconnected after it can resume
        # without missing the following ones.
        marks = [min(watermark, later.id - 1) for _, later in pairwise(new)] + [watermark]
        for it, mark in zip(new, marks, strict=True) if new else ():
            self.push(sse.event(mark, "order", self._dump(it)))

    def catch_up(self, events: Sequence[FeedEvent], watermark: int) -> None:
        """Send the events since the client disconnected."""
        self.notify(events, watermark)
        self._known = {it.id for it in events if it.id > watermark}

    def reset(self, watermark: int) -> None:
        """Tell a client that was disconnected for too long to reload its page."""
        self.push(sse.event(watermark, "reset", "{}"))


class Feed:
    """Reads events for all staff clients of this process; idle without clients."""

    def __init__(self, engine: AsyncEngine, *, clock: Callable[[], float] | None = None) -> None:
        self._engine = engine
        self._clock = clock or asyncio.get_running_loop().time
        self._subscribers: set[StaffSubscriber] = set()
        self._joining: list[StaffSubscriber] = []
        #: All ids up to this one were read; None without subscribers.
        self._after: int | None = None
        #: Missing ids, and until when to read each again.
        self._missing: dict[int, float] = {}
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def watermark(self) -> int:
        """The last id up to which no event is missing."""
        return min(self._missing) - 1 if self._missing else self._after or 0

    @contextmanager
    def follow(
        self, after: int | None, dump: Callable[[FeedEvent], str]
    ) -> Iterator[StaffSubscriber]:
        """A subscriber that gets events while the block runs."""
        subscriber = StaffSubscriber(after, dump)
        self._joining.append(subscriber)
        if self._closed:
            subscriber.end()
        self._wake.set()
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)
            if subscriber in self._joining:
                self._joining.remove(subscriber)

    def notify(self, order_ids: Collection[int]) -> None:
        """Read new events soon. Call it on the event loop."""
        if order_ids and self._subscribers:
            self._wake.set()

    def close(self) -> None:
        """End every stream because the process shuts down."""
        self._closed = True
        for subscriber in (*self._subscribers, *self._joining):
            subscriber.end()

    async def run(self) -> None:
        """Read events while there are subscribers, until cancelled."""
        while True:
            if not self._subscribers and not self._joining:
                self._after = None
                self._missing.clear()
            await self._wait()
            try:
                async with reading(self._engine) as conn:
                    await self.poll(conn)
            except UNAVAILABLE_ERRORS as error:
                log.warning("cannot read the staff feed: %s", type(error).__name__)
            except Exception:  # The loop must survive any error.
                log.exception("cannot read the staff feed")
                await asyncio.sleep(POLL_S)
            await asyncio.sleep(BATCH_WINDOW_S)

    async def poll(self, conn: AsyncConnection) -> None:
        """Read new events and missing ids, then add the waiting subscribers."""
        newest = await event_feed.latest_id(conn)
        if self._after is None:
            self._after = max(newest - LOOKBACK, 0)
            await self._read(conn, newest)  # Sent to no client: they subscribed later.
        while True:
            await self._read(conn, min(newest, self._after + MAX_IDS))
            if self._after >= newest:
                break
        joining, self._joining = self._joining, []
        for subscriber in joining:
            await self._join(conn, subscriber)

    async def _read(self, conn: AsyncConnection, upto: int) -> None:
        assert self._after is not None
        now = self._clock()
        new = range(self._after + 1, upto + 1)
        found = await event_feed.visible(conn, [*self._missing, *new])
        found_ids = {it.id for it in found}
        self._missing |= dict.fromkeys(new, now + GAP_TIMEOUT_S)
        self._missing = {
            event_id: until
            for event_id, until in self._missing.items()
            if event_id not in found_ids and until > now
        }
        self._after = max(self._after, upto)
        for subscriber in self._subscribers:
            subscriber.notify(found, self.watermark)

    async def _join(self, conn: AsyncConnection, subscriber: StaffSubscriber) -> None:
        assert self._after is not None
        if subscriber.after is not None and subscriber.after < self._after - MAX_IDS:
            subscriber.reset(self.watermark)
        elif subscriber.after is not None:
            missed = range(subscriber.after + 1, self._after + 1)
            subscriber.catch_up(await event_feed.visible(conn, missed), self.watermark)
        self._subscribers.add(subscriber)

    async def _wait(self) -> None:
        watched = bool(self._subscribers or self._joining)
        try:
            async with asyncio.timeout(POLL_S if watched else None):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()


#: The staff feed of this application.
FEED = web.AppKey("feed", Feed)
