"""Limits on connections, below the level of requests (OWASP ASVS 5.0, 13.1.2).

aiohttp closes a connection that sends nothing, or incomplete headers, after the keep-alive
limit. It does not close the connection of a client that never reads its response, and it puts
its own name on responses to malformed requests. This module fixes both.
"""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import hdrs, http_parser, web
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from web.server.keys import EXPECTED
from web.server.request_limits import RequestLimits

log = logging.getLogger(__name__)

#: The beginning of a request target in absolute form, and its host.
_ABSOLUTE = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)


class StoreRunner(web.AppRunner):
    """Runs an application with limited connections.

    Raises:
        RuntimeError: aiohttp has only its Python parser, where most of its vulnerabilities were.
    """

    def __init__(
        self, app: web.Application, limits: RequestLimits, *, shutdown_timeout: float
    ) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise RuntimeError("This aiohttp has no compiled parser; install one of its wheels.")
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=limits.keepalive_s,
            shutdown_timeout=shutdown_timeout,
            max_line_size=limits.max_line,
            max_field_size=limits.max_line,
            max_headers=limits.max_fields,
            lingering_time=limits.linger_s,
        )
        self._limits = limits

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        limited = _Server(
            server.request_handler,
            request_factory=partial(_make_request, server.request_factory),
            **self._kwargs,
        )
        limited.limits = self._limits
        return limited


def _make_request(
    make: Callable[..., web.BaseRequest], message: RawRequestMessage, *args: Any
) -> web.BaseRequest:
    """The request in the form that the application expects.

    `GET http://host/path` means `GET /path` with this host (RFC 9112, section 3.2.2).  `Expect` is
    removed from the headers, because aiohttp would answer it before the request is checked;
    `security.continue_expected` answers it.
    """
    target = _ABSOLUTE.match(message.path)
    headers = message.headers
    expected = headers.get(hdrs.EXPECT)
    if target is not None or expected is not None:
        changed = CIMultiDict(headers)
        changed.popall(hdrs.EXPECT, None)
        if target is not None:
            changed[hdrs.HOST] = target[1].rpartition("@")[2]
            path = message.path[target.end() :]
            path = path if path.startswith("/") else f"/{path}"
            message = message._replace(path=path, url=URL(path, encoded=True))
        message = message._replace(headers=CIMultiDictProxy(changed))
    request = make(message, *args)
    if expected is not None:
        request[EXPECTED] = expected
    return request


class _Server(web.Server):
    limits: RequestLimits

    def __call__(self) -> web.RequestHandler:
        connection = _Connection(self, loop=self._loop, **self._kwargs)
        connection.limits = self.limits
        return connection


class _Connection(web.RequestHandler):
    __slots__ = ("_raw_transport", "_unread_since", "_unread_timer", "limits")

    limits: RequestLimits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        # aiohttp drops its own reference before the last bytes are sent.
        self._raw_transport = transport
        self._unread_since: float | None = None
        self._unread_timer = self._loop.call_later(self.limits.unread_check_s, self._check_unread)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._unread_timer.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Respond to a malformed request. Any client can send one, so log it at debug level."""
        log.debug("malformed request: %s", type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("the response has already started")
        problem = {
            "type": "/api/docs#bad-request",
            "title": "Bad request",
            "status": status,
            "detail": "This is not a valid HTTP request.",
            "code": "bad-request",
        }
        response = _AnonymousResponse(
            body=json.dumps(problem).encode(),
            status=status,
            content_type="application/problem+json",
            headers={"Cache-Control": "no-store"},
        )
        response.force_close()
        return response

    def _check_unread(self) -> None:
        now = self._loop.time()
        if self._raw_transport.get_write_buffer_size() == 0:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since >= self.limits.unread_timeout_s:
            self._raw_transport.abort()
            return
        self._unread_timer = self._loop.call_later(self.limits.unread_check_s, self._check_unread)


class _AnonymousResponse(web.Response):
    """A response without the `Server` header; for a malformed request no signal removes it."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)
