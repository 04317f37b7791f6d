"""The dashboard is tried in the same site, by the same visitors, as all other pages."""

from tests.web.conftest import client, server, settings, visitor

__all__ = ["client", "server", "settings", "visitor"]
