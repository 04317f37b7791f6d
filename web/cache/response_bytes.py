"""Cache of complete HTTP responses as bytes, served before any other middleware.

`web.cache.guest_cache` caches the response to a guest for one second. This module caches the bytes
that were sent for it. An identical request within that second costs one dictionary lookup: no
session, no route handler, no header processing. It is still counted in the metrics and the rate
limit, and gets its own request id.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler
from prometheus_client import Counter, Histogram

from web.cache.guest_cache import MAX_ENTRIES, CachedResponse
from web.monitoring.metrics import METRICS
from web.server import api_rate_limit, request_context

#: Headers that differ for each request.
_PER_REQUEST_HEADERS = {
    "X-Request-ID",
    "RateLimit",
    "RateLimit-Policy",
    "Date",
    "Connection",
    "Content-Length",
}
_Key = tuple[str, str, str, str]


#: While one request refreshes an entry, the others get the stale bytes for this long instead of
#: waiting. A change is still visible within two seconds.
STALE_WHILE_REFRESHING_S = 0.5


@dataclass(slots=True)
class _Bytes:
    """A response: the status line, and everything after the per-request headers."""

    until: float
    first: bytes
    rest: bytes
    limited: bool
    #: Metrics of the route.
    requests: Counter
    seconds: Histogram
    #: A request is already refreshing this entry.
    refreshing: bool = False


class ResponseBytes:
    """Cached bytes by URL and the request headers that influence the response."""

    def __init__(self) -> None:
        self._entries: OrderedDict[_Key, _Bytes] = OrderedDict()

    def get(self, request: web.Request) -> _Bytes | None:
        """The cached bytes for this request; None if missing or expired.

        The first request after expiry gets None and thereby refreshes the entry.
        """
        found = self._entries.get(_key(request))
        if found is None or not _is_cacheable(request):
            return None
        expired_s = time.monotonic() - found.until
        if expired_s < 0 or (found.refreshing and expired_s < STALE_WHILE_REFRESHING_S):
            return found
        found.refreshing = True
        return None

    def store(self, request: web.Request, response: CachedResponse) -> None:
        """Cache a response that is about to be sent."""
        head = [
            f"{name}: {value}"
            for name, value in response.headers.items()
            if name not in _PER_REQUEST_HEADERS
        ]
        head += [f"Date: {formatdate(usegmt=True)}", f"Content-Length: {len(response.bytes)}"]
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unknown"
        metrics = request.config_dict[METRICS]
        key = _key(request)
        self._entries[key] = _Bytes(
            response.until,
            b"HTTP/1.1 200 OK\r\n",
            "\r\n".join(head).encode() + b"\r\n\r\n" + response.bytes,
            api_rate_limit.RATE_COUNTS in request,
            metrics.requests.labels("GET", route, 200),
            metrics.seconds.labels("GET", route),
        )
        self._entries.move_to_end(key)
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)


#: The byte cache of this application.
RESPONSE_BYTES = web.AppKey("response_bytes", ResponseBytes)


class _RawResponse(web.StreamResponse):
    """Sends the bytes of a complete response."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content
        self._prepared_for: web.BaseRequest | None = None

    @property
    def prepared(self) -> bool:
        return self._prepared_for is not None

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        self._prepared_for = request
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("client disconnected")
        request.transport.write(self._content)

    async def write_eof(self, data: Any = b"") -> None:
        # Wait for a slow client, as for any other response.
        assert self._prepared_for is not None
        await self._prepared_for.writer.drain()


@web.middleware
async def serve_cached(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve cached bytes if there are any; otherwise handle the request normally."""
    started = time.perf_counter()
    found = request.app[RESPONSE_BYTES].get(request)
    if found is None:
        return await handler(request)
    headers = f"X-Request-ID: {request_context.request_id_of(request)}\r\n"
    if found.limited:
        counts = api_rate_limit.count_address(request)
        if counts[0].left < 0:
            return await handler(request)  # The rate limiter counts it again and rejects it.
        headers += "".join(
            f"{name}: {value}\r\n" for name, value in api_rate_limit.rate_limit_headers(counts)
        )
    found.requests.inc()
    found.seconds.observe(time.perf_counter() - started)
    return _RawResponse(found.first + headers.encode() + found.rest)


async def cache_response(request: web.Request, response: web.StreamResponse) -> None:
    """Cache the final response. The last signal handler, so that all headers are set."""
    if (
        isinstance(response, CachedResponse)
        and response.status == HTTPStatus.OK
        and _is_cacheable(request)
    ):
        request.config_dict[RESPONSE_BYTES].store(request, response)


def _key(request: web.Request) -> _Key:
    headers = request.headers
    return (
        request.raw_path,
        headers.get(hdrs.ACCEPT_ENCODING, ""),
        headers.get(hdrs.ACCEPT_LANGUAGE, ""),
        headers.get(hdrs.ORIGIN, ""),
    )


def _is_cacheable(request: web.Request) -> bool:
    """Whether the response to this request depends only on its cache key."""
    headers = request.headers
    return (
        request.method == hdrs.METH_GET
        and request.version >= HttpVersion11
        and hdrs.COOKIE not in headers
        and hdrs.AUTHORIZATION not in headers
        and hdrs.IF_NONE_MATCH not in headers
        and hdrs.RANGE not in headers
        and hdrs.CONNECTION not in headers
    )
