"""All routes of the application outside the back office, with the access that each requires."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from aiohttp import web

from bookstore.users.permissions import DELICATE
from web.api import docs_pages
from web.api import routes as api_routes
from web.api.operations import Handler, operation_of
from web.api.routes import ANYONE, API, OPERATIONS, Route
from web.monitoring import health, metrics
from web.server.route_access import Access
from web.store import routes as store_routes
from web.store.routes import PAGES

SYSTEM_ROUTES = [
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
    """Add the routes. Returns the access of each, and the routes that need a recent password."""
    access: dict[web.AbstractRoute, Access] = {}
    confirmed: set[web.AbstractRoute] = set()
    for prefix, routes in ((API, OPERATIONS), ("", SYSTEM_ROUTES), ("", PAGES)):
        for method, path, handler, required in routes:
            # HEAD is GET without the body. A stream needs no HEAD.
            methods = ["GET", "HEAD"] if method == "GET" and not _is_stream(handler) else [method]
            for name in methods:
                route = app.router.add_route(name, prefix + path, handler)
                access[route] = required
                if handler in CONFIRMED or required in DELICATE:
                    confirmed.add(route)
    return access, confirmed


def _is_stream(handler: Handler) -> bool:
    operation = operation_of(handler)
    return operation is not None and "text/event-stream" in operation.content_type
