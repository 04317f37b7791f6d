"""The dashboard, put together; `web/app.py` mounts it under /admin."""

from aiohttp import web

from admin import rendering, routes
from admin.access import staff_only
from config.settings import Settings
from web.server.route_access import ACCESS, CONFIRMED


def make_admin(settings: Settings) -> web.Application:
    """The dashboard as an application within the site's, which knows who is signed in."""
    app = web.Application(middlewares=[rendering.refused, staff_only])
    rendering.prepare(app, settings)
    app[ACCESS], app[CONFIRMED] = routes.add_to(app)
    return app
