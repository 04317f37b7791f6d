"""Cache of responses to guests. Entries live for one second, so there is no invalidation."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

#: Short enough that stale data does not matter; long enough that any load costs one query a second.
CACHE_TTL_S = 1.0
#: Maximum number of entries. They are small and short-lived.
MAX_ENTRIES = 1000

Create = Callable[[], Awaitable[web.StreamResponse]]


class _Entry(NamedTuple):
    until: float
    response: "asyncio.Future[web.StreamResponse]"


class CachedResponse(web.Response):
    """A response shared by several requests until `until` (seconds of the monotonic clock)."""

    def __init__(self, response: web.Response, until: float) -> None:
        assert isinstance(response.body, bytes)
        super().__init__(body=response.body, status=response.status, headers=response.headers)
        self.until = until

    @property
    def bytes(self) -> bytes:
        """The body as it is sent."""
        assert isinstance(self.body, bytes)
        return self.body


class GuestCache:
    """Cached responses by URL. Concurrent requests for the same URL share one handler call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def get_or_create(self, url: str, create: Create) -> web.StreamResponse:
        """The response for this URL, at most one second old. Raises what `create` raises."""
        entry = self._entries.get(url)
        if entry is None or entry.until <= self._clock():
            # A separate task: the other requests still get it if the first client disconnects.
            entry = _Entry(self._clock() + CACHE_TTL_S, asyncio.ensure_future(_call(create)))
            self._entries[url] = entry
            self._entries.move_to_end(url)
            if len(self._entries) > MAX_ENTRIES:
                self._entries.popitem(last=False)
        try:
            response = await asyncio.shield(entry.response)
        except Exception:
            if self._entries.get(url) is entry:
                del self._entries[url]
            raise
        assert isinstance(response, web.Response)
        # aiohttp can send a response object only once, so copy it for each request.
        return CachedResponse(response, entry.until)


#: The guest cache of this application.
GUEST_CACHE = web.AppKey("guest_cache", GuestCache)


async def _call(create: Create) -> web.StreamResponse:
    return await create()
