"""Connections: what a client may do to one before any request of ours begins.

aiohttp closes a connection that sends nothing, or only half of its headers, after the
keep-alive limit.  It does not look after a client that never takes its answer, and calls
what cannot be read by its own name; both are mended here.  (OWASP ASVS 5.0, 13.1.2)
"""

import asyncio
import json
import logging

from aiohttp import http_parser, web

from web.server.request_limits import Bounds

log = logging.getLogger(__name__)


class Runner(web.AppRunner):
    """Runs an application on connections of ours.

    Raises:
        RuntimeError: aiohttp would parse requests in Python: most of its holes were there.
    """

    def __init__(self, app: web.Application, bounds: Bounds, *, shutdown_timeout: float) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise RuntimeError("This aiohttp has no compiled parser; install one of its wheels.")
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=bounds.keepalive_s,
            shutdown_timeout=shutdown_timeout,
            max_line_size=bounds.line,
            max_field_size=bounds.line,
            max_headers=bounds.fields,
            lingering_time=bounds.linger_s,
        )
        self._bounds = bounds

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        ours = _Server(made.request_handler, request_factory=made.request_factory, **self._kwargs)
        ours.bounds = self._bounds
        return ours


class _Server(web.Server):
    bounds: Bounds

    def __call__(self) -> web.RequestHandler:
        connection = _Connection(self, loop=self._loop, **self._kwargs)
        connection.bounds = self.bounds
        return connection


class _Connection(web.RequestHandler):
    __slots__ = ("_look", "_unread_since", "_wire", "bounds")

    bounds: Bounds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        # Ours: aiohttp forgets its own before the last bytes are out.
        self._wire = transport
        self._unread_since: float | None = None
        self._look = self._loop.call_later(self.bounds.look_s, self._look_after)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no request; anybody may send such bytes, so it is no news."""
        log.debug("not a request: %s", type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        problem = {
            "type": "/api/docs#bad-request",
            "title": "Bad request",
            "status": status,
            "detail": "This is not a request that HTTP knows.",
            "code": "bad-request",
        }
        response = _Nameless(
            body=json.dumps(problem).encode(),
            status=status,
            content_type="application/problem+json",
            headers={"Cache-Control": "no-store"},
        )
        response.force_close()
        return response

    def _look_after(self) -> None:
        now = self._loop.time()
        if self._wire.get_write_buffer_size() == 0:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since >= self.bounds.unread_s:
            self._wire.abort()
            return
        self._look = self._loop.call_later(self.bounds.look_s, self._look_after)


class _Nameless(web.Response):
    """An answer that does not say what we run; signals do not reach what is no request."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)
