"""The routes of the whole application, and who may use each."""

from collections.abc import Mapping

from aiohttp import web

from web.api import docs_pages
from web.api.operations import Handler, operation_of
from web.api.routes import ANYONE, API, OPERATIONS, Route
from web.monitoring import health, metrics
from web.server.route_access import Access
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


def add_to(app: web.Application) -> Mapping[web.AbstractRoute, Access]:
    """Give the application its addresses; the answer says who may come in at each."""
    access: dict[web.AbstractRoute, Access] = {}
    for prefix, routes in ((API, OPERATIONS), ("", AROUND), ("", PAGES)):
        for method, path, handler, wanted in routes:
            # HEAD is GET without its body; nobody wants the head of a stream.
            methods = ["GET", "HEAD"] if method == "GET" and not _endless(handler) else [method]
            for name in methods:
                access[app.router.add_route(name, prefix + path, handler)] = wanted
    return access


def _endless(handler: Handler) -> bool:
    operation = operation_of(handler)
    return operation is not None and "text/event-stream" in operation.content_type
