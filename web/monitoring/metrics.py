"""Prometheus metrics of the web process, and a log line for each unsafe request."""

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
from web.server.problems import UNAVAILABLE_ERRORS
from web.server.request_context import is_internal, now
from web.server.security import SAFE_METHODS

log = logging.getLogger(__name__)

#: From a cached response to a delay at which customers leave.
_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
#: Prometheus scrapes every 15 s, and there may be two servers.
CACHE_TTL_S: Final = 10.0
#: Counting a million orders takes a second. A result is cached for this multiple of its query time,
#: so a process spends at most a fiftieth of its time on it.
MAX_COST_RATIO: Final = 50
#: Prometheus aborts a scrape after 10 s.
QUERY_TIMEOUT_S: Final = 4.0


class CachedQuery:
    """Metrics from a database query, cached."""

    def __init__(self, ttl_s: float, cost_ratio: int = 0) -> None:
        """Cache a result for `ttl_s` or `cost_ratio` times its query time, whichever is longer."""
        self._found: list[Metric] = []
        self._refresh_at = float("-inf")
        self._ttl_s = ttl_s
        self._cost_ratio = cost_ratio

    async def latest(
        self, engine: AsyncEngine, query: Callable[[AsyncConnection], Awaitable[list[Metric]]]
    ) -> list[Metric]:
        """The result of `query`; an empty list while the database is unavailable."""
        started = time.monotonic()
        if started < self._refresh_at:
            return self._found
        try:
            async with db.reading(engine.execution_options(timeout_s=QUERY_TIMEOUT_S)) as conn:
                self._found = await query(conn)
        except UNAVAILABLE_ERRORS:
            self._found = []
        ended = time.monotonic()
        self._refresh_at = ended + max(self._ttl_s, self._cost_ratio * (ended - started))
        return self._found


class Metrics:
    """The counters of one application, and cached metrics from the database."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bookstore_http_requests",
            "HTTP responses by method, route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "bookstore_http_request_duration_seconds",
            "Seconds from the request headers to the end of the response.",
            ["method", "route"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.checkouts = Histogram(
            "bookstore_checkout_group_orders",
            "Orders placed in one transaction.",
            buckets=(1, 2, 5, 10, 20, 50),
            registry=self.registry,
        )
        self.connections = Gauge(
            "bookstore_web_database_connections",
            "Database connections in use by requests.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._lock = asyncio.Lock()
        self._work, self._past = CachedQuery(CACHE_TTL_S), CachedQuery(CACHE_TTL_S, MAX_COST_RATIO)

    async def text(self, request: web.Request) -> bytes:
        """All metrics in the text format. Database metrics may be some seconds old.

        While the database is unavailable, they are missing.
        """
        async with self._lock:
            engine = request.config_dict[ENGINE]
            work = await self._work.latest(engine, partial(metrics.backlog, now=now()))
            past = await self._past.latest(engine, metrics.store_totals)
        return metrics.text([self.registry], [*work, *past])


METRICS = web.AppKey("metrics", Metrics)


@web.middleware
async def record_metrics(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the request by the path template of its route, because each label is a time series."""
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
        # The duration of a stream says nothing about performance.
        if response is None or response.content_type != "text/event-stream":
            counts.seconds.labels(method, route).observe(seconds)
        counts.connections.set(db.connections_in_use(request.config_dict[ENGINE]))
        if request.method not in SAFE_METHODS:
            user = request.get(USER)
            record = {"method": method, "route": route, "status": status}
            record |= {"seconds": round(seconds, 4), "user_id": user.id if user else None}
            log.info("request completed", extra=record)


_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


async def show(request: web.Request) -> web.Response:
    """GET /metrics in the text format of Prometheus; 404 outside the private network."""
    if not is_internal(request):
        raise web.HTTPNotFound
    body = await request.config_dict[METRICS].text(request)
    return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})
