"""Server-sent events (HTML Standard, section 9.2).

A stream only waits for its subscriber: it has no database connection and runs no query.
`web/live/order_streams.py` and `web/live/staff_stream.py` read events for all subscribers at
once.
"""

import asyncio
import logging
from typing import Protocol

from aiohttp import web

from web.auth import sessions

log = logging.getLogger(__name__)

#: Interval of keep-alive comments. Proxies close connections that are silent for longer. A client
#: that disconnected is also detected within this time.
KEEPALIVE_S = 15.0
#: After this time the stream ends and the browser reconnects, perhaps to another process; this
#: balances load.
MAX_STREAM_S = 30 * 60.0
#: Milliseconds after which a disconnected browser reconnects.
RETRY_MS = 3000
#: Maximum number of events queued for a slow client. A slower client is disconnected and resumes
#: after it reconnects.
MAX_QUEUED = 1000
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # Without this, nginx buffers the events.
    "X-Accel-Buffering": "no",
}


class EventSource(Protocol):
    """The source of a stream's events."""

    async def next(self) -> str | None:
        """The next event in wire format; None at the end of the stream."""


class Subscriber:
    """A queue of events for one client (an `EventSource`)."""

    def __init__(self) -> None:
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()
        self._ended = False

    async def next(self) -> str | None:
        """The next event in wire format; None at the end."""
        return await self._texts.get()

    def push(self, text: str) -> None:
        """Queue an event in wire format; ends the stream if the queue is full."""
        if self._texts.qsize() >= MAX_QUEUED:
            self.end()
        if not self._ended:
            self._texts.put_nowait(text)

    def end(self) -> None:
        """End the stream after the queued events."""
        if not self._ended:
            self._ended = True
            self._texts.put_nowait(None)


def event(event_id: int, name: str, data: str) -> str:
    """An event in wire format; `data` is JSON in one line."""
    return f"id: {event_id}\nevent: {name}\ndata: {data}\n\n"


async def stream(
    request: web.Request,
    source: EventSource,
    *,
    keepalive_s: float = KEEPALIVE_S,
    max_duration_s: float = MAX_STREAM_S,
) -> web.StreamResponse:
    """Send events until the source ends, the client disconnects or `max_duration_s` is over.

    The stream also ends within `keepalive_s` after the client's session or token ends.
    """
    loop = asyncio.get_running_loop()
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    started_at = checked_at = loop.time()
    try:
        await response.write(f"retry: {RETRY_MS}\n\n".encode())
        while (left := started_at + max_duration_s - loop.time()) > 0:
            if loop.time() - checked_at >= keepalive_s:
                # Stop if the user signed out or lost the role meanwhile.
                if not await sessions.still_valid(request):
                    break
                checked_at = loop.time()
            try:
                async with asyncio.timeout(min(keepalive_s, left)):
                    text = await source.next()
            except TimeoutError:
                await response.write(b": keep-alive\n\n")
                continue
            if text is None:
                break
            await response.write(text.encode())
        await response.write_eof()
    except ConnectionResetError:
        log.debug("client disconnected")
    return response
