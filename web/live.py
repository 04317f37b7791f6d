"""Server-sent events: people watch what happens while it happens.

Each stream looks for new events once a second; they are numbered within their order, so
that none is missed and none comes twice.  (HTML Standard, section 9.2)
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from bookstore import orders
from bookstore.db import reading
from bookstore.orders import NEXT, Event, Order
from web.keys import CLOSING, ENGINE
from web.problems import AWAY

log = logging.getLogger(__name__)

#: How often a stream looks for news.
LOOK_S = 1.0
#: Proxies close what is silent for longer; also how soon we notice that a reader has gone.
COMMENT_S = 15.0
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    # nginx would gather the events.
    "X-Accel-Buffering": "no",
}


async def follow_order(
    request: web.Request, order: Order, after: int, dump: Callable[[Event], str]
) -> web.StreamResponse:
    """Send an order's events from number `after` on, until nothing more can happen to it.

    A reader who has seen the end gets 204, which tells browsers not to come again.
    """
    if order.final and after >= order.last_seq:
        return web.Response(status=204)
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    try:
        async for event in _events(request, response, order.id, after):
            text = f"id: {event.id}\nevent: status\ndata: {dump(event)}\n\n"
            await response.write(text.encode())
        await response.write_eof()
    except ConnectionResetError:
        log.debug("reader gone")
    return response


async def _events(
    request: web.Request, response: web.StreamResponse, order_id: int, after: int
) -> AsyncIterator[Event]:
    """The events as they come, up to the one that ends the order or the shutdown of the process."""
    loop = asyncio.get_running_loop()
    commented_at = loop.time()
    closing = request.config_dict[CLOSING]
    while not closing.is_set():
        for event in await _look(request, order_id, after):
            yield event
            after, commented_at = event.id, loop.time()
            if event.kind in _FINAL:
                return
        if loop.time() - commented_at >= COMMENT_S:
            await response.write(b": still here\n\n")
            commented_at = loop.time()
        try:
            async with asyncio.timeout(LOOK_S):
                await closing.wait()
        except TimeoutError:
            continue


async def _look(request: web.Request, order_id: int, after: int) -> list[Event]:
    try:
        async with reading(request.config_dict[ENGINE]) as conn:
            return await orders.events(conn, order_id, after=after)
    except AWAY:
        # The reader need not know: events are not lost, they come later.
        return []


_FINAL = {state for state in orders.State if state not in NEXT}
