"""Every address of the API, and who may come in."""

from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import web

from web import health, metrics
from web.access import Access, Open
from web.api import docs, users
from web.api.operations import Handler

ANYONE, SIGNED_IN = Open.ANYONE, Open.SIGNED_IN
API = "/api/v1"


class Route(NamedTuple):
    method: str
    path: str
    handler: Handler
    access: Access


OPERATIONS = [
    Route("POST", "/users", users.register, ANYONE),
    Route("GET", "/users/me", users.show_profile, SIGNED_IN),
    Route("PATCH", "/users/me", users.change_profile, SIGNED_IN),
    Route("GET", "/session", users.show_session, ANYONE),
    Route("POST", "/session", users.sign_in, ANYONE),
    Route("DELETE", "/session", users.sign_out, ANYONE),
]
AROUND = [
    Route("GET", "/healthz", health.healthz, ANYONE),
    Route("GET", "/readyz", health.readyz, ANYONE),
    Route("GET", "/metrics", metrics.show, ANYONE),
    Route("GET", "/api/openapi.json", docs.show_document, ANYONE),
    Route("GET", "/api/docs", docs.show_reference, ANYONE),
    Route("GET", "/api/docs.css", docs.show_style, ANYONE),
]


def add_to(app: web.Application) -> Mapping[web.AbstractRoute, Access]:
    """Give the application its addresses; the answer says who may come in at each."""
    access: dict[web.AbstractRoute, Access] = {}
    for prefix, routes in ((API, OPERATIONS), ("", AROUND)):
        for method, path, handler, wanted in routes:
            # A GET that is no stream answers HEAD as well.
            methods = ["GET", "HEAD"] if method == "GET" else [method]
            for name in methods:
                access[app.router.add_route(name, prefix + path, handler)] = wanted
    return access
