"""Cached catalogue pages, shared by all guests without a session."""

import functools
import gzip
import hashlib
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp_session import get_session

from bookstore import i18n
from web.cache.guest_cache import GUEST_CACHE
from web.server.keys import USER
from web.store import display_settings


def cached(
    handler: Callable[[web.Request], Awaitable[web.Response]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Cache the handler's page for one second for guests without a session.

    The handler must not redirect: one exception may be raised for several requests.
    """

    @functools.wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        if request[USER] is not None or not (await get_session(request)).empty:
            response = await handler(request)
            response.enable_compression()
            return response
        gzipped = "gzip" in request.headers.get("Accept-Encoding", "")
        address = f"{display_settings.of(request)} {i18n.current()} {gzipped} {request.path_qs}"
        shared = await request.config_dict[GUEST_CACHE].get_or_create(
            address, lambda: render(request, gzipped)
        )
        if request.headers.get("If-None-Match") != shared.headers["ETag"]:
            return shared
        names = ("ETag", "Cache-Control", "Vary")
        return web.Response(status=304, headers={name: shared.headers[name] for name in names})

    async def render(request: web.Request, gzipped: bool) -> web.StreamResponse:
        body = (await handler(request)).body
        assert isinstance(body, bytes)
        headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Cache-Control": "private, no-cache",
            "ETag": f'W/"{hashlib.sha256(body).hexdigest()[:24]}"',
            "Vary": "Cookie, Accept-Encoding, Accept-Language",
        }
        if gzipped:
            body = gzip.compress(body, compresslevel=6, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    return answer
