"""Every order's events, for staff who watch the store at work.

Across orders there is only the id of an event, and a smaller one may become visible after a
larger one.  So the feed asks for ids that were missing again for ten seconds; then they were
never used.  The `id` that a reader is given is the last one before which nothing is missing
any more: who resumes from it misses nothing, and may get what was sent last a second time.
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
from bookstore.orders.event_feed import STEP, FeedEvent
from web.live import sse
from web.server.problems import AWAY

log = logging.getLogger(__name__)

LOOK_S = 1.0
#: Staff read no faster.
GATHER_S = 0.1
#: Longer than any transaction that writes events may take.
MISSING_S = 10.0
#: At the start, so many ids back are looked for as if they had been missed a moment ago.
BEHIND = 200


class Reader(sse.Listener):
    """A member of staff; `after` is the event to resume from, None for what comes from now on."""

    def __init__(self, after: int | None, dump: Callable[[FeedEvent], str]) -> None:
        super().__init__()
        self.after = after
        self._dump = dump
        #: Of what the feed still misses, that which this reader has already.
        self._known: set[int] = set()

    def tell(self, happenings: Sequence[FeedEvent], settled: int) -> None:
        """Let them know what they do not; up to id `settled` nothing is missing after these."""
        new = [it for it in happenings if it.id not in self._known]
        self._known = {event_id for event_id in self._known if event_id > settled}
        # Whoever is cut off within these resumes before the first that did not arrive.
        marks = [min(settled, later.id - 1) for _, later in pairwise(new)] + [settled]
        for it, mark in zip(new, marks, strict=True) if new else ():
            self.hear(sse.event(mark, "order", self._dump(it)))

    def catch_up(self, happenings: Sequence[FeedEvent], settled: int) -> None:
        """Tell what happened while they were away."""
        self.tell(happenings, settled)
        self._known = {it.id for it in happenings if it.id > settled}

    def start_over(self, settled: int) -> None:
        """They were away for too long: what they show has to be loaded afresh."""
        self.hear(sse.event(settled, "reset", "{}"))


class Feed:
    """Reads for all staff who watch in this process, and rests while nobody does."""

    def __init__(self, engine: AsyncEngine, *, clock: Callable[[], float] | None = None) -> None:
        self._engine = engine
        self._clock = clock or asyncio.get_running_loop().time
        self._readers: set[Reader] = set()
        self._joining: list[Reader] = []
        #: Everything up to this id was looked for; None while nobody watches.
        self._after: int | None = None
        #: Ids that were not there, and when to stop asking for each.
        self._missing: dict[int, float] = {}
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def settled(self) -> int:
        """The last id before which nothing is missing any more."""
        return min(self._missing) - 1 if self._missing else self._after or 0

    @contextmanager
    def follow(self, after: int | None, dump: Callable[[FeedEvent], str]) -> Iterator[Reader]:
        """Somebody who gets what happens for as long as this lasts."""
        reader = Reader(after, dump)
        self._joining.append(reader)
        if self._closed:
            reader.end()
        self._wake.set()
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            if reader in self._joining:
                self._joining.remove(reader)

    def hint(self, order_ids: Collection[int]) -> None:
        """Something happened; to be called on the event loop."""
        if order_ids and self._readers:
            self._wake.set()

    def close(self) -> None:
        """End every stream: the process stops."""
        self._closed = True
        for reader in (*self._readers, *self._joining):
            reader.end()

    async def run(self) -> None:
        """Read on for as long as somebody watches, until cancelled."""
        while True:
            if not self._readers and not self._joining:
                self._after = None
                self._missing.clear()
            await self._wait()
            try:
                async with reading(self._engine) as conn:
                    await self.look(conn)
            except AWAY as error:
                log.warning("no news for staff: %s", type(error).__name__)
            except Exception:  # Whatever it was, the loop must go on.
                log.exception("no news for staff")
                await asyncio.sleep(LOOK_S)
            await asyncio.sleep(GATHER_S)

    async def look(self, conn: AsyncConnection) -> None:
        """Read on, ask again for what was missing, and let those in who have come."""
        newest = await event_feed.latest(conn)
        if self._after is None:
            self._after = max(newest - BEHIND, 0)
            await self._read(conn, newest)  # Nobody is told: it was before they came.
        while True:
            await self._read(conn, min(newest, self._after + STEP))
            if self._after >= newest:
                break
        joining, self._joining = self._joining, []
        for reader in joining:
            await self._let_in(conn, reader)

    async def _read(self, conn: AsyncConnection, upto: int) -> None:
        assert self._after is not None
        now = self._clock()
        new = range(self._after + 1, upto + 1)
        found = await event_feed.among(conn, [*self._missing, *new])
        there = {it.id for it in found}
        self._missing |= dict.fromkeys(new, now + MISSING_S)
        self._missing = {
            event_id: until
            for event_id, until in self._missing.items()
            if event_id not in there and until > now
        }
        self._after = max(self._after, upto)
        for reader in self._readers:
            reader.tell(found, self.settled)

    async def _let_in(self, conn: AsyncConnection, reader: Reader) -> None:
        assert self._after is not None
        if reader.after is not None and reader.after < self._after - STEP:
            reader.start_over(self.settled)
        elif reader.after is not None:
            missed = range(reader.after + 1, self._after + 1)
            reader.catch_up(await event_feed.among(conn, missed), self.settled)
        self._readers.add(reader)

    async def _wait(self) -> None:
        watched = bool(self._readers or self._joining)
        try:
            async with asyncio.timeout(LOOK_S if watched else None):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()


#: Tells staff what happens to all orders.
FEED = web.AppKey("feed", Feed)
