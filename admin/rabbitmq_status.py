"""What the broker says of its queues, for staff who look; it may be away."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from bookstore.tasks.publisher import Depth, Publisher
from config.settings import Settings

log = logging.getLogger(__name__)

#: A page waits no longer for the management interface.
ANSWER_S = 1.0
_DELAYED, _DEAD = ".DQ", ".XQ"


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages per second that came into a queue and that were done with."""

    coming: float
    done: float


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue; `delayed` and `dead` wait in queues of dramatiq's own beside it."""

    name: str
    ready: int
    consumers: int
    delayed: int
    dead: int
    rate: Rate | None


@dataclass(frozen=True, slots=True)
class Broker:
    """`away` when it does not answer; embedded there is none, and `queues` is empty.

    `silent` when its management API should say how fast the queues move, and does not.
    """

    away: bool
    queues: list[Queue] = field(default_factory=list)
    silent: bool = False


async def ask(publisher: Publisher, settings: Settings) -> Broker:
    """What the broker says now, or that it says nothing."""
    depths, rates = await asyncio.gather(_depths(publisher), _rates(settings))
    if depths is None:
        return Broker(away=True)
    by_name = {depth.queue: depth for depth in depths}
    known = rates or {}
    return Broker(
        away=False,
        silent=rates is None,
        queues=[
            Queue(
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


async def _depths(publisher: Publisher) -> Sequence[Depth] | None:
    try:
        return await publisher.depths()
    except ConnectionError:
        return None


def _ready(by_name: dict[str, Depth], name: str) -> int:
    return by_name[name].ready if name in by_name else 0


async def _rates(settings: Settings) -> dict[str, Rate] | None:
    """How fast the queues move, from RabbitMQ's management API where its address is known.

    None when it does not say.
    """
    if settings.broker_admin_url is None or settings.embedded:
        return {}
    vhost = urlsplit(settings.broker_urls[0]).path.removeprefix("/") or "%2F"
    address = f"{settings.broker_admin_url.rstrip('/')}/api/queues/{quote(vhost, safe='%')}"
    limit = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(URL(address, encoded=True)) as answer,
        ):
            answer.raise_for_status()
            found = await answer.json()
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
