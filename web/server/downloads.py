"""Downloads of any size, sent in chunks."""

import logging
from collections.abc import AsyncIterable

from aiohttp import web

log = logging.getLogger(__name__)


async def send_chunks(
    request: web.Request, response: web.StreamResponse, chunks: AsyncIterable[bytes]
) -> web.StreamResponse:
    """Send the response with this body; for HEAD, only the headers."""
    response.headers.setdefault("Cache-Control", "no-store")
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        async for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
    except ConnectionResetError:
        log.debug("client disconnected")
    return response
