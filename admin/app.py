"""The dashboard, put together; `web/app.py` mounts it under /admin."""

from aiohttp import web

from admin import rendering, routes
from admin.access import ACCESS, staff_only
from config.settings import Settings


def make_admin(settings: Settings) -> web.Application:
    """The dashboard as an application within the site's, which knows who is signed in."""
    app = web.Application(middlewares=[rendering.refused, staff_only])
    rendering.prepare(app, settings)
    app[ACCESS] = routes.add_to(app)
    return app
