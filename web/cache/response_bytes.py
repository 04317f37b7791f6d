"""The shortest way: an answer that is kept, and known to its last byte, is sent as it is.

What a guest is answered lies in `kept` for a second.  Here it lies as the bytes that went
over the wire, so that whoever asks the same within that second costs a look into a dictionary:
no session, no route's handler, no headers set one by one.  It is counted and limited like any
other request, and has an id of its own.
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

from web.cache.guest_cache import MOST, CachedResponse
from web.monitoring.metrics import METRICS
from web.server import api_rate_limit, request_context

#: What belongs to one request and no other.
_OWN = {"X-Request-ID", "RateLimit", "RateLimit-Policy", "Date", "Connection", "Content-Length"}
_Key = tuple[str, str, str]


#: While somebody fetches the next answer the others need not wait for it: they get the last one
#: for so long.  What is changed is seen within two seconds all the same.
GRACE_S = 0.5


@dataclass(slots=True)
class _Bytes:
    """An answer: its first line up to the place of its own headers, and all that follows them."""

    until: float
    first: bytes
    rest: bytes
    limited: bool
    #: Where its requests are counted.
    requests: Counter
    seconds: Histogram
    #: Somebody fetches the next one.
    renewed: bool = False


class ResponseBytes:
    """Answers by all that decides what they are."""

    def __init__(self) -> None:
        self._answers: OrderedDict[_Key, _Bytes] = OrderedDict()

    def get(self, request: web.Request) -> _Bytes | None:
        """The answer to this request, if it is known and not too old.

        Whoever comes first after its second is over has to fetch the next one.
        """
        found = self._answers.get(_key(request))
        if found is None or not _is_plain(request):
            return None
        over_s = time.monotonic() - found.until
        if over_s < 0 or (found.renewed and over_s < GRACE_S):
            return found
        found.renewed = True
        return None

    def keep(self, request: web.Request, response: CachedResponse) -> None:
        """Keep an answer as it is about to be sent."""
        head = [f"{name}: {value}" for name, value in response.headers.items() if name not in _OWN]
        head += [f"Date: {formatdate(usegmt=True)}", f"Content-Length: {len(response.bytes)}"]
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unknown"
        metrics = request.config_dict[METRICS]
        key = _key(request)
        self._answers[key] = _Bytes(
            response.until,
            b"HTTP/1.1 200 OK\r\n",
            "\r\n".join(head).encode() + b"\r\n\r\n" + response.bytes,
            api_rate_limit.COUNTS in request,
            metrics.requests.labels("GET", route, 200),
            metrics.seconds.labels("GET", route),
        )
        self._answers.move_to_end(key)
        if len(self._answers) > MOST:
            self._answers.popitem(last=False)


#: The same, as it was sent.
RESPONSE_BYTES = web.AppKey("finished", ResponseBytes)


class _Sent(web.StreamResponse):
    """Writes bytes that are an answer already."""

    def __init__(self, whole: bytes) -> None:
        super().__init__()
        self._whole = whole
        self._prepared_at: web.BaseRequest | None = None

    @property
    def prepared(self) -> bool:
        return self._prepared_at is not None

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        self._prepared_at = request
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("reader gone")
        request.transport.write(self._whole)

    async def write_eof(self, data: Any = b"") -> None:
        # Whoever does not read is waited for, as with any other answer.
        assert self._prepared_at is not None
        await self._prepared_at.writer.drain()


@web.middleware
async def short_way(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send what is finished; everything else goes the long way."""
    started = time.perf_counter()
    found = request.app[RESPONSE_BYTES].get(request)
    if found is None:
        return await handler(request)
    own = f"X-Request-ID: {request_context.id_of(request)}\r\n"
    if found.limited:
        counts = api_rate_limit.count_address(request)
        if counts[0].left < 0:
            return await handler(request)  # It counts once more, and is refused.
        own += "".join(f"{name}: {value}\r\n" for name, value in api_rate_limit.headers_of(counts))
    found.requests.inc()
    found.seconds.observe(time.perf_counter() - started)
    return _Sent(found.first + own.encode() + found.rest)


async def keep(request: web.Request, response: web.StreamResponse) -> None:
    """Keep an answer with all its headers; a signal, the last of them."""
    if (
        isinstance(response, CachedResponse)
        and response.status == HTTPStatus.OK
        and _is_plain(request)
    ):
        request.config_dict[RESPONSE_BYTES].keep(request, response)


def _key(request: web.Request) -> _Key:
    headers = request.headers
    return (
        request.raw_path,
        headers.get(hdrs.ACCEPT_ENCODING, ""),
        headers.get(hdrs.ACCEPT_LANGUAGE, ""),
    )


def _is_plain(request: web.Request) -> bool:
    """Whether nothing about the request could lead to another answer."""
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
