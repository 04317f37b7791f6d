"""Is the process alive, and can it do its work?"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum

from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import reading, revisions
from bookstore.tasks import heartbeats
from bookstore.tasks.publisher import Publisher
from web.server.request_context import from_inside, now

log = logging.getLogger(__name__)

#: No part may make the answer wait longer.
LIMIT_S = 1.0
#: Load balancers ask often, and from many machines.
CACHE_S = 1.0
#: The relay beats every few seconds; after this it is gone.
HEARTBEAT_LIMIT = timedelta(seconds=60)


class Health(StrEnum):
    OK = "ok"
    #: Orders are accepted, and something is late.
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """How a part is, and why, where it is not well."""

    status: Health
    detail: str | None = None


#: Looks at one part; what it raises counts as failed.
Check = Callable[[], Awaitable[Result]]


def database(engine: AsyncEngine) -> Check:
    """Whether the database answers."""

    async def check() -> Result:
        async with reading(engine) as conn:
            await conn.execute(text("SELECT 1"))
        return Result(Health.OK)

    return check


def migrations(engine: AsyncEngine) -> Check:
    """Whether the tables are those that this program knows."""

    async def check() -> Result:
        async with reading(engine) as conn:
            current, newest = await revisions(conn)
        if current == newest:
            return Result(Health.OK)
        return Result(Health.FAILED, f"the tables are at {current}, the program at {newest}")

    return check


def relay(engine: AsyncEngine) -> Check:
    """Whether some process offers again what is overdue."""

    async def check() -> Result:
        async with reading(engine) as conn:
            latest = await heartbeats.latest(conn)
        if latest is None:
            return Result(Health.DEGRADED, "no worker has ever run")
        if now() - latest > HEARTBEAT_LIMIT:
            return Result(Health.DEGRADED, f"no worker since {latest:%Y-%m-%d %H:%M:%S} UTC")
        return Result(Health.OK)

    return check


def broker(publisher: Publisher) -> Check:
    """Whether what is ordered now is heard of by the workers at once."""

    async def check() -> Result:
        if publisher.ready:
            return Result(Health.OK)
        return Result(Health.DEGRADED, "orders wait in the database until the broker is back")

    return check


async def healthz(request: web.Request) -> web.Response:
    """GET /healthz: this process answers."""
    return web.json_response({"status": Health.OK})


class Readiness:
    """How every part is; `checks` looks at them, by name."""

    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._results: dict[str, Result] = {}

    async def results(self) -> dict[str, Result]:
        """The results by name, at most a second old."""
        async with self._lock:
            if time.monotonic() - self._asked_at >= CACHE_S:
                found = await asyncio.gather(*(_ask(*check) for check in self.checks.items()))
                self._results = dict(zip(self.checks, found, strict=True))
                self._asked_at = time.monotonic()
            return self._results


#: What `/readyz` looks at.
READINESS = web.AppKey("readiness", Readiness)


async def readyz(request: web.Request) -> web.Response:
    """GET /readyz: every part with its own result; 503 when one that is needed fails.

    The outside learns no more than how the whole is.
    """
    results = await request.config_dict[READINESS].results()
    worst = _worst(results.values())
    checks = {name: asdict(result) for name, result in results.items()}
    return web.json_response(
        {"status": worst, "checks": checks} if from_inside(request) else {"status": worst},
        status=503 if worst is Health.FAILED else 200,
        headers={"Cache-Control": "no-store"},
    )


async def _ask(name: str, check: Check) -> Result:
    try:
        async with asyncio.timeout(LIMIT_S):
            return await check()
    except Exception as error:  # Whatever it is, this part does not work.
        log.warning("not ready: %s (%s)", name, type(error).__name__)
        return Result(Health.FAILED, type(error).__name__)


def _worst(results: Iterable[Result]) -> Health:
    found = {result.status for result in results}
    for health in (Health.FAILED, Health.DEGRADED):
        if health in found:
            return health
    return Health.OK
