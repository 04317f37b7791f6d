"""What every request has: an id, a sender, a moment."""

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

#: Ids that are taken over from the client: nothing that could break a log line or a header.
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Longer than it takes to look an account up and to queue a letter to it.
ANSWERED_S = 0.15


@web.middleware
async def numbered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id: the client's `X-Request-ID` if it is sane, else a new one."""
    request_id = request[REQUEST_ID] = id_of(request)
    # One task serves all requests of a connection, so the id is unbound at the end.
    address = audit.ADDRESS.set(sender(request))
    try:
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            return await handler(request)
    finally:
        audit.ADDRESS.reset(address)


def id_of(request: web.Request) -> str:
    """The client's own id for the request if it is sane, else a new one."""
    wanted = request.headers.get("X-Request-ID")
    if wanted is not None and _SANE.fullmatch(wanted):
        return wanted
    return os.urandom(8).hex()


async def send_id(request: web.Request, response: web.StreamResponse) -> None:
    """Put the request's id on its answer; a signal, so that streams have it too."""
    if REQUEST_ID in request:
        response.headers["X-Request-ID"] = request[REQUEST_ID]


def now() -> datetime:
    """This moment, for the services, which have no clock."""
    return datetime.now(UTC)


def bearer(request: web.Request) -> str | None:
    """The token that the request shows; None for one without, and outside the API.

    Other schemes are not ours: a proxy in front may ask for a password of its own.
    """
    header = request.headers.get("Authorization")
    if header is None or not request.path.startswith("/api/"):
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


@asynccontextmanager
async def no_sooner(seconds: float = ANSWERED_S) -> AsyncIterator[None]:
    """Take so long at least, whatever is found within: then the time says nothing about it."""
    loop = asyncio.get_running_loop()
    begun_at = loop.time()
    yield
    await asyncio.sleep(begun_at + seconds - loop.time())


def sender(request: web.Request) -> str:
    """The address of whoever sent the request.

    `X-Forwarded-For` counts as far as proxies that the settings name have written it.
    """
    trusted = request.config_dict[SETTINGS].trusted_proxies
    address = request.remote or ""
    hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    while hops and _among(address, trusted):
        hop = hops.pop().strip()
        if not _is_address(hop):
            break
        address = hop
    return address


def from_inside(request: web.Request) -> bool:
    """Whether the request comes from this machine or a private network: what only operators read.

    An address that we cannot read comes from nowhere.
    """
    address = sender(request)
    return _is_address(address) and ip_address(address).is_private


def _among(address: str, networks: Collection[str]) -> bool:
    return _is_address(address) and any(
        ip_address(address) in ip_network(network, strict=False) for network in networks
    )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
