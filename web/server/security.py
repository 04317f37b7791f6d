"""What is refused before any handler runs, and the headers that every answer carries."""

import asyncio
from urllib.parse import urlsplit

from aiohttp import HttpVersion10, web
from aiohttp.typedefs import Handler

from web.server.errors import CrossSiteRequest
from web.server.keys import SETTINGS
from web.server.request_context import bearer
from web.server.request_limits import BOUNDS
from web.server.route_access import Open, authorize_route

SAFE = {"GET", "HEAD", "OPTIONS"}

#: Everything from ourselves, nothing inline, no frame around us.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
#: A year, as browsers' preload lists ask for; only ever sent over HTTPS.
STRICT_TRANSPORT_SECURITY = "max-age=31536000; includeSubDomains"


@web.middleware
async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what is no request to us, and a body that does not come to an end in time."""
    if request.version < HttpVersion10:
        raise _VersionNotSupported
    if not request.raw_path.startswith("/"):
        # `http://elsewhere/` or `*`: we are nobody's proxy.
        raise web.HTTPBadRequest
    if request.content.is_eof():
        return await handler(request)
    timer = asyncio.get_running_loop().call_later(
        _body_s(request), request.content.set_exception, web.HTTPRequestTimeout()
    )
    try:
        return await handler(request)
    finally:
        timer.cancel()


@web.middleware
async def same_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what another site makes a browser send.

    `Sec-Fetch-Site` decides where it is present, else the `Origin`'s host must be the
    request's.  A client that sends neither is a program, and no browser lends it a cookie.
    Who shows a token is a program too: then the cookie does not count.
    """
    if request.method not in SAFE and not _from_here(request) and bearer(request) is None:
        raise CrossSiteRequest
    return await handler(request)


@web.middleware
async def authorized(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Ask the policy whether this request may use its route."""
    await authorize_route(request, Open.ANYONE)
    return await handler(request)


async def send_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers on an answer; a signal, so that streams have them too."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.config_dict[SETTINGS].base_url.startswith("https:"):
        response.headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
    # What we run is nobody's business.
    response.headers.popall("Server", None)


class _VersionNotSupported(web.HTTPException):
    status_code = 505


def _body_s(request: web.Request) -> float:
    """How long the whole body may take; only uploads may take longer, the longer they are."""
    bounds = request.config_dict[BOUNDS]
    if not request.content_type.startswith(("multipart/", "image/")):
        return bounds.body_s
    return bounds.body_s + (request.content_length or 0) / bounds.slowest_upload


def _from_here(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    try:
        return origin is None or urlsplit(origin).netloc.lower() == request.host.lower()
    except ValueError:  # Such as half of an IPv6 address.
        return False
