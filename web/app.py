"""Assembly of the complete web application."""

import asyncio
from collections.abc import AsyncIterator, Collection
from functools import partial

from aiohttp import web

from admin.app import make_admin
from bookstore.carts import SharedWrites
from bookstore.database.engine import announcing, make_engine, notifying
from bookstore.orders import Checkouts
from bookstore.pricing import CountryTable, Rates
from bookstore.tasks.publisher import EventBus, RabbitPublisher
from bookstore.users.session_lookup import SessionLookup
from config.settings import Settings
from web import routes
from web.api import docs_pages
from web.auth import authorization, session_storage
from web.cache import guest_cache, response_bytes
from web.cache.guest_cache import GUEST_CACHE
from web.cache.response_bytes import RESPONSE_BYTES
from web.live.order_streams import HUB, Hub
from web.live.staff_stream import FEED, Feed
from web.monitoring import health, metrics
from web.monitoring.health import READINESS
from web.monitoring.metrics import METRICS
from web.server import (
    api_rate_limit,
    compression,
    keys,
    languages,
    problems,
    request_context,
    security,
)
from web.server.api_rate_limit import RATE_LIMITER
from web.server.request_limits import DEFAULT_LIMITS, REQUEST_LIMITS, RequestLimits
from web.server.route_access import ACCESS, CONFIRMED
from web.store import routes as store

#: Database connections for live updates, of those that a process may open.
STREAM_CONNECTIONS = 3


async def make_app(settings: Settings, limits: RequestLimits = DEFAULT_LIMITS) -> web.Application:
    """The application. It opens its connections at startup and closes them at shutdown."""
    app = web.Application(
        client_max_size=limits.max_body,
        middlewares=[
            response_bytes.serve_cached,
            request_context.assign_request_id,
            languages.set_language,
            metrics.record_metrics,
            # Listed twice. The session middleware saves a session only if the handler raised
            # nothing, so errors become responses inside it. Saving itself can fail, so errors
            # become responses outside it, too.
            problems.handle_errors,
            security.limit_request,
            security.answer_options,
            api_rate_limit.limit_rate,
            security.reject_cross_site,
            session_storage.middleware(settings),
            problems.handle_errors,
            session_storage.load_session,
            security.check_authorization,
            security.continue_expected,
        ],
    )
    app[keys.SETTINGS] = settings
    app[REQUEST_LIMITS] = limits
    app[keys.TARIFF] = _tariff(settings)
    app[keys.RATES] = app[keys.TARIFF].home
    app[GUEST_CACHE] = guest_cache.GuestCache()
    app[RESPONSE_BYTES] = response_bytes.ResponseBytes()
    app[RATE_LIMITER] = api_rate_limit.RateLimiter()
    app[keys.SHUTTING_DOWN] = asyncio.Event()
    app[METRICS] = metrics.Metrics()
    app[READINESS] = health.Readiness()
    authorization.setup(app)
    app[ACCESS], app[CONFIRMED] = routes.add_to(app)
    docs_pages.prepare(app)
    store.prepare(app)
    app.add_subapp("/admin", make_admin(settings))
    app.on_shutdown.append(_close)
    app.on_response_prepare.append(request_context.send_id)
    app.on_response_prepare.append(security.send_headers)
    app.on_response_prepare.append(security.send_cors_headers)
    app.on_response_prepare.append(compression.compress_json)
    app.on_response_prepare.append(api_rate_limit.send_rate_limit_headers)
    app.on_response_prepare.append(response_bytes.cache_response)
    app.cleanup_ctx.extend([_streams, _broker, _database])
    return app


def _tariff(settings: Settings) -> CountryTable:
    home = Rates(
        currency=settings.currency,
        shipping_cents=settings.shipping_cents,
        free_shipping_from_cents=settings.free_shipping_from_cents,
        tax_basis_points=settings.tax_basis_points,
    )
    table = {
        country: None if delivery is None else Rates(settings.currency, *delivery)
        for country, delivery in settings.countries.items()
    }
    others = table.pop("*", home)
    return CountryTable(home, table, others)


async def _close(app: web.Application) -> None:
    app[keys.SHUTTING_DOWN].set()
    app[HUB].close()
    app[FEED].close()


async def _streams(app: web.Application) -> AsyncIterator[None]:
    """Run the readers behind all event streams.

    They have their own connection pool: a burst of requests must not delay live updates.
    """
    settings = app[keys.SETTINGS]
    engine = make_engine(
        settings.database_url,
        connections=STREAM_CONNECTIONS,
        timeout_s=settings.database_timeout_s,
    )
    app[HUB], app[FEED] = Hub(engine), Feed(engine)
    running = [asyncio.create_task(app[HUB].run()), asyncio.create_task(app[FEED].run())]
    yield
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await engine.dispose()


async def _broker(app: web.Application) -> AsyncIterator[None]:
    """Connect to the broker: publish tasks, and send and receive order notifications."""
    settings = app[keys.SETTINGS]
    hub, feed = app[HUB], app[FEED]

    def notify_streams(order_ids: Collection[int]) -> None:
        hub.notify(order_ids)
        feed.notify(order_ids)

    if settings.embedded:
        # Imported here because importing the actors creates their broker.
        from actors.embedded import workers

        loop = asyncio.get_running_loop()

        def notify_from_worker(order_ids: Collection[int]) -> None:
            # The workers run in another event loop.
            loop.call_soon_threadsafe(notify_streams, order_ids)

        async with workers(settings, notify_from_worker) as local:
            app[keys.PUBLISHER], app[keys.NOTIFY] = local, notify_streams
            yield
        return
    name = "bookstore web"
    urls = settings.broker_urls
    async with (
        RabbitPublisher(urls, queue_type=settings.queue_type, name=name) as publisher,
        EventBus(urls, name=name, on_change=notify_streams) as exchange,
    ):
        app[keys.PUBLISHER], app[keys.NOTIFY] = publisher, exchange.notify
        yield


async def _database(app: web.Application) -> AsyncIterator[None]:
    publisher = app[keys.PUBLISHER]
    settings = app[keys.SETTINGS]
    engine = make_engine(
        settings.database_url,
        connections=settings.web_connections - STREAM_CONNECTIONS,
        timeout_s=settings.database_timeout_s,
    )
    engine = notifying(announcing(engine, publisher.publish), app[keys.NOTIFY])
    app[keys.ENGINE] = engine
    app[keys.SESSION_LOOKUP] = SessionLookup(engine)
    limit = settings.max_per_title
    app[keys.CART_WRITES] = SharedWrites(engine, limit=limit)
    app[keys.CHECKOUTS] = Checkouts(
        engine, app[keys.TARIFF], limit=limit, watch=app[METRICS].checkouts.observe
    )
    app[READINESS].checks |= {
        "database": partial(health.database, engine),
        "broker": partial(health.broker, publisher),
        "migrations": partial(health.migrations, engine),
        "relay": partial(health.relay, engine),
    }
    yield
    await engine.dispose()
