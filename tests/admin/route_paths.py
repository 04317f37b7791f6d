"""The route table of the dashboard: its pages, and paths that match a route."""

import re

from admin import routes

#: Method, path and required access of every route.
PAGES = [(method, path, access) for method, path, _, access in routes.ROUTES]


def example_path(path: str) -> str:
    """A path that matches the route and names nothing that exists."""
    path = path.replace("{name:[a-z.-]+}", "none.css")
    return "/admin" + re.sub(r"\{[^{}]*(\{[^{}]*\})?[^{}]*\}", "999999", path)


def pattern_of(path: str) -> re.Pattern[str]:
    """Matches every path that the router sends to this route."""
    return re.compile("/admin" + re.sub(r"\{\w+(:[^{}]*(\{[^{}]*\})?[^{}]*)?\}", "[^/]+", path))
