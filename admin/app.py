"""The dashboard, put together; `web/app.py` mounts it under /admin."""

from aiohttp import web

from admin import page, routes
from admin.access import ACCESS, staff_only
from config.settings import Settings


def make_admin(settings: Settings) -> web.Application:
    """The dashboard as an application within the site's, which knows who is signed in."""
    app = web.Application(middlewares=[page.refused, staff_only])
    page.prepare(app, settings)
    app[ACCESS] = routes.add_to(app)
    return app
