"""Server-sent events: people watch what happens while it happens (HTML Standard, section 9.2).

A stream waits for its listener and nothing else: no connection, no query of its own.  What
listeners get, `web/live/order_streams.py` and `web/live/staff_stream.py` read for all of them at
once.
"""

import asyncio
import logging
from typing import Protocol

from aiohttp import web

from web.auth import sessions

log = logging.getLogger(__name__)

#: Proxies close what is silent for longer; also how soon we notice that a reader has gone.
COMMENT_S = 15.0
#: Then the browser connects once more, perhaps to another process: so load spreads again.
LONGEST_S = 30 * 60.0
#: Milliseconds after which a browser that was cut off comes back.
RETRY_MS = 3000
#: Texts that wait for a slow reader; one that has more is cut off, and resumes when it can.
MOST_WAITING = 1000
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # nginx would gather the events.
    "X-Accel-Buffering": "no",
}


class Source(Protocol):
    """Where a stream's texts come from."""

    async def next(self) -> str | None:
        """The next text as it is sent; None when nothing more will come."""


class Listener:
    """Waits for texts that others hand to it."""

    def __init__(self) -> None:
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()
        self._ended = False

    async def next(self) -> str | None:
        """The next text; None at the end."""
        return await self._texts.get()

    def hear(self, text: str) -> None:
        """Let the listener have this text."""
        if self._texts.qsize() >= MOST_WAITING:
            self.end()
        if not self._ended:
            self._texts.put_nowait(text)

    def end(self) -> None:
        """Nothing more comes after what waits."""
        if not self._ended:
            self._ended = True
            self._texts.put_nowait(None)


def event(event_id: int, name: str, data: str) -> str:
    """An event as it is sent; `data` is JSON in one line."""
    return f"id: {event_id}\nevent: {name}\ndata: {data}\n\n"


async def stream(
    request: web.Request,
    source: Source,
    *,
    comment_s: float = COMMENT_S,
    longest_s: float = LONGEST_S,
) -> web.StreamResponse:
    """Send what comes from the source until it ends, the reader goes or `longest_s` is over.

    It ends too when the reader's session does, within `comment_s`.
    """
    loop = asyncio.get_running_loop()
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    begun = asked = loop.time()
    try:
        await response.write(f"retry: {RETRY_MS}\n\n".encode())
        while (left := begun + longest_s - loop.time()) > 0:
            if loop.time() - asked >= comment_s:
                # Whoever is signed out meanwhile, or may no longer look, sees no more.
                if not await sessions.goes_on(request):
                    break
                asked = loop.time()
            try:
                async with asyncio.timeout(min(comment_s, left)):
                    text = await source.next()
            except TimeoutError:
                await response.write(b": still here\n\n")
                continue
            if text is None:
                break
            await response.write(text.encode())
        await response.write_eof()
    except ConnectionResetError:
        log.debug("reader gone")
    return response
