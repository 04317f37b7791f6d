"""Liveness and readiness checks."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum

from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import cause_of, known_migrations, reading, revisions
from bookstore.tasks import heartbeats
from bookstore.tasks.publisher import Publisher
from web.server.request_context import is_internal, now

log = logging.getLogger(__name__)

#: Timeout of each check.
CHECK_TIMEOUT_S = 1.0
#: Results are cached for this long, because several load balancers poll frequently.
CACHE_TTL_S = 1.0
#: The relay records a heartbeat every few seconds; after this time it counts as stopped.
HEARTBEAT_TIMEOUT = timedelta(seconds=60)


class Health(StrEnum):
    """The status of a dependency, from best to worst."""

    OK = "ok"
    #: Orders are accepted, but their processing may be delayed.
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """The status of one dependency, and the reason if it is not ok."""

    status: Health
    detail: str | None = None


#: Checks one dependency; an exception means FAILED.
Check = Callable[[], Awaitable[Result]]


async def database(engine: AsyncEngine) -> Result:
    """Whether the database responds."""
    async with reading(engine) as conn:
        await conn.execute(text("SELECT 1"))
    return Result(Health.OK)


async def migrations(engine: AsyncEngine) -> Result:
    """Whether the database schema has the version of this program."""
    async with reading(engine) as conn:
        current, newest = await revisions(conn)
    if current == newest:
        return Result(Health.OK)
    if current is not None and current not in known_migrations():
        # The previous release runs beside the next one, and after a rollback.
        return Result(Health.OK, f"the tables are at {current}, newer than the program")
    return Result(Health.FAILED, f"the tables are at {current}, the program at {newest}")


async def relay(engine: AsyncEngine) -> Result:
    """Whether a relay runs that republishes overdue tasks."""
    async with reading(engine) as conn:
        latest = await heartbeats.latest(conn)
    if latest is None:
        return Result(Health.DEGRADED, "no worker has ever run")
    if now() - latest > HEARTBEAT_TIMEOUT:
        return Result(Health.DEGRADED, f"no worker since {latest:%Y-%m-%d %H:%M:%S} UTC")
    return Result(Health.OK)


async def broker(publisher: Publisher) -> Result:
    """Whether new tasks reach the workers immediately."""
    if publisher.ready:
        return Result(Health.OK)
    return Result(Health.DEGRADED, "orders wait in the database until the broker is back")


async def healthz(request: web.Request) -> web.Response:
    """GET /healthz: this process responds."""
    return web.json_response({"status": Health.OK})


class Readiness:
    """Runs the `checks`, by name, and caches their results."""

    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._results: dict[str, Result] = {}
        self._stopping = False

    def stop(self) -> None:
        """From now on this process is not ready: it is about to stop."""
        self._stopping = True

    async def results(self) -> dict[str, Result]:
        """The results by name, at most a second old."""
        if self._stopping:
            return {"process": Result(Health.FAILED, "this process is stopping")}
        async with self._lock:
            if time.monotonic() - self._checked_at >= CACHE_TTL_S:
                found = await asyncio.gather(*(_run_check(*check) for check in self.checks.items()))
                self._results = dict(zip(self.checks, found, strict=True))
                self._checked_at = time.monotonic()
            return self._results


#: The checks of `/readyz`.
READINESS = web.AppKey("readiness", Readiness)


async def readyz(request: web.Request) -> web.Response:
    """GET /readyz: the result of every check; status 503 if one failed.

    Clients outside the private network see only the overall status.
    """
    results = await request.config_dict[READINESS].results()
    statuses = [result.status for result in results.values()]
    worst = max(statuses, key=list(Health).index, default=Health.OK)
    checks = {name: asdict(result) for name, result in results.items()}
    return web.json_response(
        {"status": worst, "checks": checks} if is_internal(request) else {"status": worst},
        status=503 if worst is Health.FAILED else 200,
        headers={"Cache-Control": "no-store"},
    )


async def _run_check(name: str, check: Check) -> Result:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except Exception as error:  # Any error means that the check failed.
        log.warning("readiness check failed: %s (%s)", name, cause_of(error))
        return Result(Health.FAILED, cause_of(error))
