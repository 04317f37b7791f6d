"""Request id, client address, bearer token and current time of a request."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from bookstore import audit
from web.server.keys import REQUEST_ID, SETTINGS

#: Client ids that are accepted: no characters that could break a log line or a header.
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Longer than an account lookup plus queuing an e-mail take.
MIN_ANSWER_S = 0.15


@web.middleware
async def assign_request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Set the request id: the client's `X-Request-ID` if it is well-formed, else a new one."""
    request_id = request[REQUEST_ID] = request_id_of(request)
    # One asyncio task serves all requests of a connection, so unbind the id at the end.
    address = audit.ADDRESS.set(client_address(request))
    try:
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            return await handler(request)
    finally:
        audit.ADDRESS.reset(address)


def request_id_of(request: web.Request) -> str:
    """The client's `X-Request-ID` if it is well-formed, else a new random id."""
    sent = request.headers.get("X-Request-ID")
    if sent is not None and _ACCEPTED_ID.fullmatch(sent):
        return sent
    return os.urandom(8).hex()


async def send_id(request: web.Request, response: web.StreamResponse) -> None:
    """Set `X-Request-ID` on the response. A signal handler, so that streams have it, too."""
    if REQUEST_ID in request:
        response.headers["X-Request-ID"] = request[REQUEST_ID]


def now() -> datetime:
    """The current time in UTC. Services take it as an argument and read no clock themselves."""
    return datetime.now(UTC)


def bearer_token(request: web.Request) -> str | None:
    """The bearer token of an API request; None without one and outside the API.

    Other authentication schemes are ignored: a proxy in front may use Basic authentication.
    """
    header = request.headers.get("Authorization")
    if header is None or not request.path.startswith("/api/"):
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


@asynccontextmanager
async def minimum_duration(seconds: float = MIN_ANSWER_S) -> AsyncIterator[None]:
    """Make the block take at least this long, so that its duration reveals nothing.

    Without it, a client could measure whether an account exists.
    """
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    yield
    await asyncio.sleep(started_at + seconds - loop.time())


def client_address(request: web.Request) -> str:
    """The IP address of the client.

    `X-Forwarded-For` is used only as far as trusted proxies of the settings appended to it.
    """
    trusted = request.config_dict[SETTINGS].trusted_proxies
    address = request.remote or ""
    hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    while hops and _in_networks(address, trusted):
        hop = hops.pop().strip()
        if not _is_address(hop):
            break
        address = hop
    return address


def is_internal(request: web.Request) -> bool:
    """Whether the client is on this machine or in a private network, as operators are.

    An address that cannot be parsed is not internal.
    """
    address = client_address(request)
    return _is_address(address) and ip_address(address).is_private


def _in_networks(address: str, networks: Collection[str]) -> bool:
    return _is_address(address) and any(
        ip_address(address) in ip_network(network, strict=False) for network in networks
    )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
