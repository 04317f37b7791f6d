"""Rate limits of the API, with the RateLimit header fields
(draft-ietf-httpapi-ratelimit-headers).

Counters are kept in the memory of this process. A request costs one dictionary lookup, and
anonymous clients cannot fill the database with counters. N processes allow N times the limit.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from web.server.errors import TooManyRequests
from web.server.keys import SETTINGS
from web.server.request_context import client_address

#: Length of the fixed window in which each policy counts requests.
WINDOW_S = 60
#: Maximum number of counters. When it is reached, the oldest counter is evicted.
MAX_WINDOWS = 100_000


class Policy(NamedTuple):
    """At most `max_requests` requests for one client in each window."""

    name: str
    max_requests: int


#: A third of the capacity of one process. An office behind one address never reaches it; a runaway
#: program does.
ADDRESS_POLICY = Policy("address", 30_000)
#: A script that imports books one by one sends a few requests a second.
TOKEN_POLICY = Policy("token", 6_000)


class RateCount(NamedTuple):
    """`left` requests remain in this window; it resets in `reset_s` seconds."""

    policy: Policy
    left: int
    reset_s: int


#: The counts of this request; only set if the request was counted.
RATE_COUNTS = web.RequestKey("rate_limits", list)


class RateLimiter:
    """Requests in the current window, by policy and client."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[tuple[Policy, str], tuple[float, int]] = OrderedDict()

    def count(self, policy: Policy, name: str) -> RateCount:
        """Count a request of this client. `left` is negative if the limit is exceeded."""
        now = self._clock()
        ends_at, count = self._windows.get((policy, name), (0.0, 0))
        if ends_at <= now:
            self._windows.pop((policy, name), None)
            ends_at, count = now + WINDOW_S, 0
            if len(self._windows) >= MAX_WINDOWS:
                self._windows.popitem(last=False)
        self._windows[policy, name] = (ends_at, count + 1)
        return RateCount(policy, policy.max_requests - count - 1, math.ceil(ends_at - now))


#: The rate limiter of this application.
RATE_LIMITER = web.AppKey("limits", RateLimiter)


def count_address(request: web.Request) -> list[RateCount]:
    """Count the request for its client address only, not for a token."""
    return [
        request.config_dict[RATE_LIMITER].count(ADDRESS_POLICY, _network(client_address(request)))
    ]


@web.middleware
async def limit_rate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request to the API, and reject it if the client exceeds its limit.

    A request with a token counts for the token and for the address. Invented tokens therefore do
    not bypass the limit.

    Raises:
        TooManyRequests: the address or the token exceeds its limit.
    """
    if not request.path.startswith("/api/v1/") or not request.config_dict[SETTINGS].rate_limits:
        return await handler(request)
    limits = request.config_dict[RATE_LIMITER]
    counts = request[RATE_COUNTS] = count_address(request)
    token = request.headers.get("Authorization")
    if token is not None:
        counts.append(limits.count(TOKEN_POLICY, str(hash(token))))
    waits_s = [count.reset_s for count in counts if count.left < 0]
    if waits_s:
        raise TooManyRequests(max(waits_s))
    return await handler(request)


async def send_rate_limit_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set the RateLimit headers. A signal handler, so that streams and errors have them, too."""
    counts: list[RateCount] = request.get(RATE_COUNTS, [])
    if counts:
        response.headers.update(rate_limit_headers(counts))


def rate_limit_headers(counts: Sequence[RateCount]) -> list[tuple[str, str]]:
    """The RateLimit header fields for these counts."""
    policies = (f'"{policy.name}";q={policy.max_requests};w={WINDOW_S}' for policy, _, _ in counts)
    left = (f'"{policy.name}";r={max(left, 0)};t={reset_s}' for policy, left, reset_s in counts)
    return [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(left))]


def _network(address: str) -> str:
    """The address, or its /64 network for IPv6: each site gets a whole network (RFC 6177)."""
    if ":" not in address:
        return address
    return str(ip_network(f"{address.partition('%')[0]}/64", strict=False))
