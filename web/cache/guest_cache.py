"""Answers for guests, kept as finished bytes for a second: nothing to invalidate."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

#: Short enough that nobody is misled; long enough that a crowd costs one query a second.
CACHE_S = 1.0
#: Answers that are kept at once.  They are small, and a second is short.
MOST = 1000

Make = Callable[[], Awaitable[web.StreamResponse]]


class _Answer(NamedTuple):
    until: float
    made: "asyncio.Future[web.StreamResponse]"


class CachedResponse(web.Response):
    """An answer that others get too, `until` so many seconds of the monotonic clock."""

    def __init__(self, made: web.Response, until: float) -> None:
        assert isinstance(made.body, bytes)
        super().__init__(body=made.body, status=made.status, headers=made.headers)
        self.bytes = made.body
        self.until = until


class GuestCache:
    """Answers by address.  Whoever comes while one is being made waits for the same."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: OrderedDict[str, _Answer] = OrderedDict()

    async def answer(self, address: str, make: Make) -> web.StreamResponse:
        """The answer at this address, at most a second old; raises what `make` raises."""
        kept = self._answers.get(address)
        if kept is None or kept.until <= self._clock():
            # A task of its own: the others must not lose it when its first client goes.
            kept = _Answer(self._clock() + CACHE_S, asyncio.ensure_future(_made(make)))
            self._answers[address] = kept
            self._answers.move_to_end(address)
            if len(self._answers) > MOST:
                self._answers.popitem(last=False)
        try:
            made = await asyncio.shield(kept.made)
        except Exception:
            if self._answers.get(address) is kept:
                del self._answers[address]
            raise
        assert isinstance(made, web.Response)
        # An answer belongs to one request; its bytes do not.
        return CachedResponse(made, kept.until)


#: What guests are answered, for a second.
GUEST_CACHE = web.AppKey("kept", GuestCache)


async def _made(make: Make) -> web.StreamResponse:
    return await make()
