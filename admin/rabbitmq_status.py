"""The state of RabbitMQ's queues, for the page of the tasks; the broker may be unreachable."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from bookstore.tasks.publisher import Publisher, QueueDepth
from config.settings import Settings

log = logging.getLogger(__name__)

#: The page waits at most this many seconds for the management API.
TIMEOUT_S = 1.0
_DELAYED, _DEAD = ".DQ", ".XQ"


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages per second: published to a queue, and acknowledged by its consumers."""

    incoming: float
    acknowledged: float


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """A queue; `delayed` and `dead` count the messages in dramatiq's `.DQ` and `.XQ` queues."""

    name: str
    ready: int
    consumers: int
    delayed: int
    dead: int
    rate: Rate | None


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """The broker: `unreachable` if it does not respond; without a broker `queues` is empty.

    `rates_missing` is true if the management API is configured but does not return rates.
    """

    unreachable: bool
    queues: list[QueueStatus] = field(default_factory=list)
    rates_missing: bool = False


async def fetch_status(publisher: Publisher, settings: Settings) -> BrokerStatus:
    """The current state of the broker."""
    depths, rates = await asyncio.gather(_depths(publisher), _rates(settings))
    if depths is None:
        return BrokerStatus(unreachable=True)
    by_name = {depth.queue: depth for depth in depths}
    known = rates or {}
    return BrokerStatus(
        unreachable=False,
        rates_missing=rates is None,
        queues=[
            QueueStatus(
                depth.queue,
                depth.ready,
                depth.consumers,
                _ready(by_name, depth.queue + _DELAYED),
                _ready(by_name, depth.queue + _DEAD),
                known.get(depth.queue),
            )
            for depth in depths
            if not depth.queue.endswith((_DELAYED, _DEAD))
        ],
    )


async def _depths(publisher: Publisher) -> Sequence[QueueDepth] | None:
    try:
        return await publisher.depths()
    except ConnectionError:
        return None


def _ready(by_name: dict[str, QueueDepth], name: str) -> int:
    return by_name[name].ready if name in by_name else 0


async def _rates(settings: Settings) -> dict[str, Rate] | None:
    """The rates of the queues from RabbitMQ's management API; empty if no API is configured.

    None if the API does not respond.
    """
    if settings.broker_admin_url is None or settings.embedded:
        return {}
    vhost = urlsplit(settings.broker_urls[0]).path.removeprefix("/") or "%2F"
    address = f"{settings.broker_admin_url.rstrip('/')}/api/queues/{quote(vhost, safe='%')}"
    limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(URL(address, encoded=True)) as response,
        ):
            response.raise_for_status()
            found = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        log.warning("management API: %s", type(error).__name__)
        return None
    return {queue["name"]: _rate(queue) for queue in found}


def _rate(queue: dict[str, Any]) -> Rate:
    stats = queue.get("message_stats") or {}
    return Rate(
        float((stats.get("publish_details") or {}).get("rate", 0)),
        float((stats.get("ack_details") or {}).get("rate", 0)),
    )
