"""Files on their way out, piece by piece, whatever their size."""

import logging
from collections.abc import AsyncIterable

from aiohttp import web

log = logging.getLogger(__name__)


async def send_pieces(
    request: web.Request, response: web.StreamResponse, pieces: AsyncIterable[bytes]
) -> web.StreamResponse:
    """The answer with this body; of a HEAD request, only its head."""
    response.headers.setdefault("Cache-Control", "no-store")
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    except ConnectionResetError:
        log.debug("reader gone")
    return response
