"""What crawlers read."""

from aiohttp import web

#: Pages that are about a visitor, not about books.
_PERSONAL = (
    "/account",
    "/admin",
    "/api/",
    "/cart",
    "/checkout",
    "/orders",
    "/register",
    "/sign-in",
)


async def robots(request: web.Request) -> web.Response:
    """GET /robots.txt (RFC 9309)."""
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in _PERSONAL)]
    return web.Response(text="\n".join(lines) + "\n", headers={"Cache-Control": "max-age=3600"})
