"""How much a program may ask of the API, and the headers that tell it (RateLimit header fields
for HTTP, draft-ietf-httpapi-ratelimit-headers).

Counted in the memory of this process: a request costs a look into a dictionary, and nothing that
a stranger could fill the database with.  Several processes let through as many times as much.
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
from web.server.request_context import sender

#: Within this long each policy lets its number of requests pass.
WINDOW_S = 60
#: Names that are kept in mind; a flood of others pushes the oldest out.
MAX_WINDOWS = 100_000


class Policy(NamedTuple):
    """`most` requests of one name in each window."""

    name: str
    most: int


#: A third of what one process answers: an office behind one address never meets it, a program
#: that runs wild does.
ADDRESS = Policy("address", 30_000)
#: An import by hand sends a few a second.
TOKEN = Policy("token", 6_000)


class Count(NamedTuple):
    """How many more requests pass, and in how many seconds all of them do again."""

    policy: Policy
    left: int
    reset_s: int


#: What this request has left; only where it was counted.
COUNTS = web.RequestKey("rate_limits", list)


class Limits:
    """The requests of the last minute, counted by who sent them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[tuple[Policy, str], tuple[float, int]] = OrderedDict()

    def count(self, policy: Policy, name: str) -> Count:
        """Count one more request of this name; `left` is negative when it is one too many."""
        now = self._clock()
        ends_at, count = self._windows.get((policy, name), (0.0, 0))
        if ends_at <= now:
            self._windows.pop((policy, name), None)
            ends_at, count = now + WINDOW_S, 0
            if len(self._windows) >= MAX_WINDOWS:
                self._windows.popitem(last=False)
        self._windows[policy, name] = (ends_at, count + 1)
        return Count(policy, policy.most - count - 1, math.ceil(ends_at - now))


#: The requests of the last minute, counted.
LIMITS = web.AppKey("limits", Limits)


def count_address(request: web.Request) -> list[Count]:
    """Count the request under the address that it comes from, and nothing else."""
    return [request.config_dict[LIMITS].count(ADDRESS, _household(sender(request)))]


@web.middleware
async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request to the API, and refuse it when there were too many.

    Who has a token is counted by it too, which nobody can get around with made-up ones: the
    address counts as well.
    """
    if not request.path.startswith("/api/v1/") or not request.config_dict[SETTINGS].rate_limits:
        return await handler(request)
    limits = request.config_dict[LIMITS]
    counts = request[COUNTS] = count_address(request)
    token = request.headers.get("Authorization")
    if token is not None:
        counts.append(limits.count(TOKEN, str(hash(token))))
    waits_s = [count.reset_s for count in counts if count.left < 0]
    if waits_s:
        raise TooManyRequests(max(waits_s))
    return await handler(request)


async def send_counts(request: web.Request, response: web.StreamResponse) -> None:
    """Tell the client what it has left; a signal, so that streams and refusals have it too."""
    counts: list[Count] = request.get(COUNTS, [])
    if counts:
        response.headers.update(headers_of(counts))


def headers_of(counts: Sequence[Count]) -> list[tuple[str, str]]:
    """The headers that tell what is left."""
    policies = (f'"{policy.name}";q={policy.most};w={WINDOW_S}' for policy, _, _ in counts)
    left = (f'"{policy.name}";r={max(left, 0)};t={reset_s}' for policy, left, reset_s in counts)
    return [("RateLimit-Policy", ", ".join(policies)), ("RateLimit", ", ".join(left))]


def _household(address: str) -> str:
    """Whose address it is: of IPv6 everybody has a whole network (RFC 6177)."""
    if ":" not in address:
        return address
    return str(ip_network(f"{address.partition('%')[0]}/64", strict=False))
