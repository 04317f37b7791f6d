"""Those who watch orders in this process: one query covers all of them.

A hint, from the exchange or from workers in this process, makes the hub look at once at the
orders it names; and once a second it looks at every order that is watched, so that a hint
that was lost costs a second.
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
from web.server.problems import AWAY

log = logging.getLogger(__name__)

#: How often every watched order is looked at: an event whose hint was lost is with whoever waits
#: for it within a second, the look and the way there included.
LOOK_S = 0.9
#: Hints come in bursts; what comes within this is looked at together.
GATHER_S = 0.02
_FINAL = {state for state in State if state not in NEXT}


class Follower(sse.Listener):
    """Somebody who watches an order, and has seen its events up to number `seen`."""

    def __init__(self, order_id: int, seen: int, dump: Callable[[Event], str]) -> None:
        super().__init__()
        self.order_id = order_id
        self.seen = seen
        self._dump = dump

    def tell(self, event: Event) -> None:
        """Let them know, unless they do; the event that ends the order ends the stream."""
        if event.id <= self.seen:
            return
        self.seen = event.id
        self.hear(sse.event(event.id, "status", self._dump(event)))
        if event.kind in _FINAL:
            self.end()


class Hub:
    """Followers by order, and the loop that reads for them.

    `engine` is the process's own; of its connections one is in use while the hub looks, and
    none while nobody follows anything.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._followers: dict[int, set[Follower]] = {}
        self._due: set[int] = set()
        self._wake = asyncio.Event()
        self._closed = False

    @contextmanager
    def follow(self, order_id: int, seen: int, dump: Callable[[Event], str]) -> Iterator[Follower]:
        """Somebody who gets the order's events after number `seen` for as long as this lasts."""
        follower = Follower(order_id, seen, dump)
        self._followers.setdefault(order_id, set()).add(follower)
        if self._closed:
            follower.end()
        self.hint([order_id])
        try:
            yield follower
        finally:
            others = self._followers[order_id]
            others.discard(follower)
            if not others:
                del self._followers[order_id]

    def hint(self, order_ids: Collection[int]) -> None:
        """Something may have happened to these orders; to be called on the event loop."""
        watched = self._followers.keys() & set(order_ids)
        if watched:
            self._due |= watched
            self._wake.set()

    def close(self) -> None:
        """End every stream: the process stops."""
        self._closed = True
        for followers in self._followers.values():
            for follower in followers:
                follower.end()

    async def run(self) -> None:
        """Look at what is watched, until cancelled."""
        loop = asyncio.get_running_loop()
        away = False
        next_round = 0.0
        while True:
            await self._wait(until=next_round)
            due, self._due = self._due, set()
            if loop.time() >= next_round:
                due = set(self._followers)
                next_round = loop.time() + LOOK_S
            try:
                await self._look(due)
                away = False
            except AWAY as error:
                # Nobody who follows need know: events are not lost, they come later.
                if not away:
                    log.warning("no news of orders: %s", type(error).__name__)
                away = True
            except Exception:  # Whatever it was, the loop must go on.
                log.exception("no news of orders")
                await asyncio.sleep(LOOK_S)
            await asyncio.sleep(GATHER_S)

    async def _wait(self, *, until: float) -> None:
        """Wait for a hint, and while anybody follows anything no longer than until then."""
        try:
            async with asyncio.timeout_at(until if self._followers else None):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _look(self, order_ids: Collection[int]) -> None:
        seen = {
            order_id: min(follower.seen for follower in self._followers[order_id])
            for order_id in order_ids
            if order_id in self._followers
        }
        if not seen:
            return
        async with reading(self._engine) as conn:
            news = await event_feed.since(conn, seen)
        for order_id, events in news.items():
            for follower in self._followers.get(order_id, ()):
                for event in events:
                    follower.tell(event)


#: Tells those who watch orders what happens to them.
HUB = web.AppKey("hub", Hub)
