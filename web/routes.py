"""The routes of the whole application, and who may use each."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from aiohttp import web

from web.api import docs_pages
from web.api import routes as api_routes
from web.api.operations import Handler, operation_of
from web.api.routes import ANYONE, API, OPERATIONS, Route
from web.monitoring import health, metrics
from web.server.route_access import Access
from web.store import routes as store_routes
from web.store.routes import PAGES

AROUND = [
    Route("GET", "/healthz", health.healthz, ANYONE),
    Route("GET", "/readyz", health.readyz, ANYONE),
    Route("GET", "/metrics", metrics.show, ANYONE),
    Route("GET", "/api/openapi.json", docs_pages.show_document, ANYONE),
    Route("GET", "/api/docs", docs_pages.show_reference, ANYONE),
    Route("GET", "/api/docs/errors", docs_pages.show_errors, ANYONE),
    Route("GET", "/api/docs.css", docs_pages.show_style, ANYONE),
]

CONFIRMED = api_routes.CONFIRMED | store_routes.CONFIRMED


def add_to(
    app: web.Application,
) -> tuple[Mapping[web.AbstractRoute, Access], AbstractSet[web.AbstractRoute]]:
    """Add the routes; returns the access of each, and those that need a recent password."""
    access: dict[web.AbstractRoute, Access] = {}
    confirmed: set[web.AbstractRoute] = set()
    for prefix, routes in ((API, OPERATIONS), ("", AROUND), ("", PAGES)):
        for method, path, handler, wanted in routes:
            # HEAD is GET without its body; nobody wants the head of a stream.
            methods = ["GET", "HEAD"] if method == "GET" and not _endless(handler) else [method]
            for name in methods:
                route = app.router.add_route(name, prefix + path, handler)
                access[route] = wanted
                if handler in CONFIRMED:
                    confirmed.add(route)
    return access, confirmed


def _endless(handler: Handler) -> bool:
    operation = operation_of(handler)
    return operation is not None and "text/event-stream" in operation.content_type
