"""What is seen of the web process from outside: figures for Prometheus, a line of the log for
each request that may have changed something."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore.database import engine as db
from bookstore.operations import metrics
from web.server.keys import ENGINE, USER
from web.server.problems import AWAY
from web.server.request_context import from_inside, now
from web.server.security import SAFE

log = logging.getLogger(__name__)

#: From a cached answer to what a customer gives up on.
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
#: Prometheus asks every 15 s, and there may be two.
CACHE_S: Final = 10.0
#: To count a million orders takes a second: no process spends more than a fiftieth on it.
SHARE: Final = 50
#: A scrape is given up after 10 s.
LIMIT_S: Final = 4.0


class Look:
    """What the database said last, and when it is to be asked again."""

    def __init__(self, kept_s: float, share: int = 0) -> None:
        """An answer is kept for `kept_s`, or for `share` times what it took."""
        self._found: list[Metric] = []
        self._again_at = float("-inf")
        self._kept_s = kept_s
        self._share = share

    async def latest(
        self, engine: AsyncEngine, ask: Callable[[AsyncConnection], Awaitable[list[Metric]]]
    ) -> list[Metric]:
        """The answer to `ask`; nothing while the database is away."""
        started = time.monotonic()
        if started < self._again_at:
            return self._found
        try:
            async with db.reading(engine.execution_options(timeout_s=LIMIT_S)) as conn:
                self._found = await ask(conn)
        except AWAY:
            self._found = []
        ended = time.monotonic()
        self._again_at = ended + max(self._kept_s, self._share * (ended - started))
        return self._found


class Metrics:
    """The counters of one application, and the last look at the database."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bookstore_http_requests",
            "Answers, by method, route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "bookstore_http_request_duration_seconds",
            "From a request's headers to the end of its answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.checkouts = Histogram(
            "bookstore_checkout_group_orders",
            "Orders that were placed in one transaction.",
            buckets=(1, 2, 5, 10, 20, 50),
            registry=self.registry,
        )
        self.connections = Gauge(
            "bookstore_web_database_connections",
            "Connections to the database that requests are using.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._lock = asyncio.Lock()
        self._work, self._past = Look(CACHE_S), Look(CACHE_S, SHARE)

    async def text(self, request: web.Request) -> bytes:
        """Everything, in the text format; what the database says may be some seconds old.

        While the database is away, that part is missing.
        """
        async with self._lock:
            engine = request.config_dict[ENGINE]
            work = await self._work.latest(engine, partial(metrics.of_work, now=now()))
            past = await self._past.latest(engine, metrics.of_past)
        return metrics.text([self.registry], [*work, *past])


METRICS = web.AppKey("metrics", Metrics)


@web.middleware
async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the request under its route's template: ids would make a series each."""
    started = time.perf_counter()
    status = 500
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
        status = response.status
        return response
    except web.HTTPException as error:
        status = error.status
        raise
    finally:
        seconds = time.perf_counter() - started
        counts = request.config_dict[METRICS]
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unknown"
        method = request.method if request.method in _METHODS else "other"
        counts.requests.labels(method, route, status).inc()
        # A stream lasts as long as somebody watches.
        if response is None or response.content_type != "text/event-stream":
            counts.seconds.labels(method, route).observe(seconds)
        counts.connections.set(db.connections_in_use(request.config_dict[ENGINE]))
        if request.method not in SAFE:
            user = request.get(USER)
            log.info(
                "answered",
                extra={
                    "method": method,
                    "route": route,
                    "status": status,
                    "seconds": round(seconds, 4),
                    "user_id": user.id if user else None,
                },
            )


_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


async def show(request: web.Request) -> web.Response:
    """GET /metrics, in the text format of Prometheus; to the outside there is nothing here."""
    if not from_inside(request):
        raise web.HTTPNotFound
    body = await request.config_dict[METRICS].text(request)
    return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})
