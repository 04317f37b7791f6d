"""The whole site, put together."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from admin.app import make_admin
from bookstore.checkout import Checkouts
from bookstore.db import announcing, make_engine
from bookstore.messages import RabbitPublisher
from bookstore.pricing import Rates
from config.settings import Settings
from web import guard, health, kept, limits, metrics, problems, requests, routes, sessions, throttle
from web.api import docs
from web.keys import (
    ACCESS,
    CHECKOUTS,
    CLOSING,
    ENGINE,
    GUESSES,
    KEPT,
    LIMITS,
    METRICS,
    PUBLISHER,
    RATES,
    READINESS,
    SETTINGS,
)
from web.store import routes as store

#: No body but an upload is larger, and those are read in pieces.
LARGEST_BODY = 64 * 1024


async def make_app(settings: Settings) -> web.Application:
    """The application; it opens what it needs when it starts and closes it when it stops."""
    app = web.Application(
        client_max_size=LARGEST_BODY,
        middlewares=[
            requests.numbered,
            metrics.measured,
            # Twice: a session is saved only when no exception passes it, and saving can fail.
            problems.answered,
            limits.counted,
            guard.same_site,
            sessions.middleware(settings),
            problems.answered,
            sessions.known,
            guard.admitted,
        ],
    )
    app[SETTINGS] = settings
    app[RATES] = Rates(
        currency=settings.currency,
        shipping_cents=settings.shipping_cents,
        free_shipping_from_cents=settings.free_shipping_from_cents,
        tax_basis_points=settings.tax_basis_points,
    )
    app[GUESSES] = throttle.Guesses()
    app[KEPT] = kept.Kept()
    app[LIMITS] = limits.Limits()
    app[CLOSING] = asyncio.Event()
    app[METRICS] = metrics.Metrics()
    app[READINESS] = health.Readiness()
    sessions.setup(app)
    app[ACCESS] = routes.add_to(app)
    docs.prepare(app)
    store.prepare(app)
    app.add_subapp("/admin", make_admin(settings))
    app.on_shutdown.append(_close)
    app.on_response_prepare.append(requests.send_id)
    app.on_response_prepare.append(guard.send_headers)
    app.on_response_prepare.append(limits.send_counts)
    app.cleanup_ctx.append(_publisher)
    app.cleanup_ctx.append(_database)
    return app


async def _close(app: web.Application) -> None:
    app[CLOSING].set()


async def _publisher(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    if settings.embedded:
        # Here, because importing the actors makes their broker.
        from actors.embedded import workers

        async with workers(settings) as local:
            app[PUBLISHER] = local
            yield
        return
    async with RabbitPublisher(
        settings.broker_urls, queue_type=settings.queue_type, name="bookstore web"
    ) as publisher:
        app[PUBLISHER] = publisher
        yield


async def _database(app: web.Application) -> AsyncIterator[None]:
    publisher = app[PUBLISHER]
    settings = app[SETTINGS]
    engine = make_engine(settings.database_url, timeout_s=settings.database_timeout_s)
    engine = announcing(engine, publisher.offer)
    app[ENGINE] = engine
    app[CHECKOUTS] = Checkouts(engine, app[RATES])
    app[READINESS].checks |= {
        "database": health.database(engine),
        "broker": health.broker(publisher),
        "migrations": health.migrations(engine),
        "relay": health.relay(engine),
    }
    yield
    await engine.dispose()
