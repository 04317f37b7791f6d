"""The whole site, put together."""

import asyncio
from collections.abc import AsyncIterator, Collection

from aiohttp import web

from admin.app import make_admin
from bookstore.carts import SharedWrites
from bookstore.database.engine import announcing, make_engine, notifying
from bookstore.orders import Checkouts
from bookstore.pricing import CountryTable, Rates
from bookstore.tasks.publisher import EventExchange, RabbitPublisher
from bookstore.users.session_lookup import SessionLookup
from config.settings import Settings
from web import routes
from web.api import docs_pages
from web.auth import authorization, sessions
from web.cache import guest_cache, response_bytes
from web.cache.guest_cache import GUEST_CACHE
from web.cache.response_bytes import RESPONSE_BYTES
from web.live.order_streams import HUB, Hub
from web.live.staff_stream import FEED, Feed
from web.monitoring import health, metrics
from web.monitoring.health import READINESS
from web.monitoring.metrics import METRICS
from web.server import api_rate_limit, languages, problems, request_context, security
from web.server.api_rate_limit import LIMITS
from web.server.keys import (
    CART_WRITES,
    CHECKOUTS,
    CLOSING,
    ENGINE,
    NOTIFY,
    PUBLISHER,
    RATES,
    SESSION_LOOKUP,
    SETTINGS,
    TARIFF,
)
from web.server.request_limits import BOUNDED, BOUNDS, Bounds
from web.server.route_access import ACCESS, CONFIRMED
from web.store import routes as store


async def make_app(settings: Settings, bounds: Bounds = BOUNDED) -> web.Application:
    """The application; it opens what it needs when it starts and closes it when it stops."""
    app = web.Application(
        client_max_size=bounds.body,
        middlewares=[
            response_bytes.short_way,
            request_context.numbered,
            languages.spoken,
            metrics.measured,
            # Twice: a session is saved only when no exception passes it, and saving can fail.
            problems.answered,
            security.bounded,
            api_rate_limit.counted,
            security.same_site,
            sessions.middleware(settings),
            problems.answered,
            sessions.known,
            security.authorized,
        ],
    )
    app[SETTINGS] = settings
    app[BOUNDS] = bounds
    app[TARIFF] = _tariff(settings)
    app[RATES] = app[TARIFF].home
    app[GUEST_CACHE] = guest_cache.GuestCache()
    app[RESPONSE_BYTES] = response_bytes.ResponseBytes()
    app[LIMITS] = api_rate_limit.Limits()
    app[CLOSING] = asyncio.Event()
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
    app.on_response_prepare.append(api_rate_limit.send_counts)
    app.on_response_prepare.append(response_bytes.keep)
    app.cleanup_ctx.append(_live)
    app.cleanup_ctx.append(_messages)
    app.cleanup_ctx.append(_database)
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
    app[CLOSING].set()
    app[HUB].close()
    app[FEED].close()


async def _live(app: web.Application) -> AsyncIterator[None]:
    """The readers behind every stream, with connections of their own: a crowd of requests must
    not keep news from those who wait for it."""
    settings = app[SETTINGS]
    engine = make_engine(settings.database_url, pool_size=2, timeout_s=settings.database_timeout_s)
    app[HUB], app[FEED] = Hub(engine), Feed(engine)
    running = [asyncio.create_task(app[HUB].run()), asyncio.create_task(app[FEED].run())]
    yield
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await engine.dispose()


async def _messages(app: web.Application) -> AsyncIterator[None]:
    """What offers tasks to the actors, and tells of and hears about orders."""
    settings = app[SETTINGS]
    hub, feed = app[HUB], app[FEED]

    def heard(order_ids: Collection[int]) -> None:
        hub.hint(order_ids)
        feed.hint(order_ids)

    if settings.embedded:
        # Here, because importing the actors makes their broker.
        from actors.embedded import workers

        loop = asyncio.get_running_loop()

        def told(order_ids: Collection[int]) -> None:
            # Workers have an event loop of their own.
            loop.call_soon_threadsafe(heard, order_ids)

        async with workers(settings, told) as local:
            app[PUBLISHER], app[NOTIFY] = local, heard
            yield
        return
    name = "bookstore web"
    async with (
        RabbitPublisher(
            settings.broker_urls, queue_type=settings.queue_type, name=name
        ) as publisher,
        EventExchange(settings.broker_urls, name=name, heard=heard) as exchange,
    ):
        app[PUBLISHER], app[NOTIFY] = publisher, exchange.notify
        yield


async def _database(app: web.Application) -> AsyncIterator[None]:
    publisher = app[PUBLISHER]
    settings = app[SETTINGS]
    engine = make_engine(settings.database_url, timeout_s=settings.database_timeout_s)
    engine = notifying(announcing(engine, publisher.offer), app[NOTIFY])
    app[ENGINE] = engine
    app[SESSION_LOOKUP] = SessionLookup(engine)
    app[CART_WRITES] = SharedWrites(engine)
    app[CHECKOUTS] = Checkouts(engine, app[TARIFF], watch=app[METRICS].checkouts.observe)
    app[READINESS].checks |= {
        "database": health.database(engine),
        "broker": health.broker(publisher),
        "migrations": health.migrations(engine),
        "relay": health.relay(engine),
    }
    yield
    await engine.dispose()
