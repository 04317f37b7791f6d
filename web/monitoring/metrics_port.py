"""Metrics on a separate port, for workers, which have no HTTP server."""

from collections.abc import AsyncIterator

from aiohttp import web

from bookstore.database.engine import make_engine
from config.settings import Settings
from web.monitoring import metrics
from web.monitoring.metrics import METRICS
from web.server.keys import ENGINE, SETTINGS


def make_exposition(settings: Settings) -> web.Application:
    """An application that serves only `/metrics`."""
    app = web.Application()
    app[SETTINGS] = settings
    app[METRICS] = metrics.Metrics()
    app.router.add_get("/metrics", metrics.show)
    app.cleanup_ctx.append(_database)
    return app


async def _database(app: web.Application) -> AsyncIterator[None]:
    app[ENGINE] = make_engine(app[SETTINGS].database_url, connections=2)
    yield
    await app[ENGINE].dispose()
