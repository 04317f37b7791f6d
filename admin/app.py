"""Assembles the dashboard; `web/app.py` mounts it at /admin."""

from aiohttp import web

from admin import rendering, routes
from admin.access import staff_only
from config.settings import Settings
from web.server.route_access import ACCESS, CONFIRMED


def make_admin(settings: Settings) -> web.Application:
    """The dashboard as a sub-application; the main application authenticates the user."""
    app = web.Application(middlewares=[rendering.error_page, staff_only])
    rendering.setup(app, settings)
    app[ACCESS], app[CONFIRMED] = routes.add_routes(app)
    return app
