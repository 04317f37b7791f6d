"""Checks before any handler runs, and the security headers of every response."""

import asyncio
from urllib.parse import urlsplit

from aiohttp import HttpVersion10, web
from aiohttp.typedefs import Handler

from web.server.errors import CrossSiteRequest
from web.server.keys import SETTINGS
from web.server.request_context import bearer_token
from web.server.request_limits import REQUEST_LIMITS
from web.server.route_access import AccessLevel, authorize_route

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

#: Only content from this site, nothing inline, no embedding in frames.
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
#: One year, as browsers' preload lists require. Sent only over HTTPS.
STRICT_TRANSPORT_SECURITY = "max-age=31536000; includeSubDomains"


@web.middleware
async def limit_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject requests that are not for this server, and bodies that are not complete in time."""
    if request.version < HttpVersion10:
        raise _VersionNotSupported
    if not request.raw_path.startswith("/"):
        # `http://elsewhere/` or `*`: this server is not a proxy.
        raise web.HTTPBadRequest
    if request.content.is_eof():
        return await handler(request)
    timer = asyncio.get_running_loop().call_later(
        _body_timeout_s(request), request.content.set_exception, web.HTTPRequestTimeout()
    )
    try:
        return await handler(request)
    finally:
        timer.cancel()


@web.middleware
async def reject_cross_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject unsafe requests that another site made the browser send (CSRF).

    `Sec-Fetch-Site` decides if it is present; else the host of `Origin` must match the request.
    A client that sends neither is a program without a browser's cookies. A client that sends a
    bearer token is a program, too, and its cookie is ignored.

    Raises:
        CrossSiteRequest: the request comes from another site.
    """
    if (
        request.method not in SAFE_METHODS
        and not _is_same_origin(request)
        and bearer_token(request) is None
    ):
        raise CrossSiteRequest
    return await handler(request)


@web.middleware
async def check_authorization(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Check that this request may use its route; see `authorize_route` for the errors."""
    await authorize_route(request, AccessLevel.ANYONE)
    return await handler(request)


async def send_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set the security headers. A signal handler, so that streams have them, too."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.config_dict[SETTINGS].base_url.startswith("https:"):
        response.headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
    # Do not reveal the server software.
    response.headers.popall("Server", None)


class _VersionNotSupported(web.HTTPException):
    status_code = 505


def _body_timeout_s(request: web.Request) -> float:
    """Seconds until the body must be complete; uploads get more, by their size."""
    limits = request.config_dict[REQUEST_LIMITS]
    if not request.content_type.startswith(("multipart/", "image/")):
        return limits.body_timeout_s
    return limits.body_timeout_s + (request.content_length or 0) / limits.min_upload_rate


def _is_same_origin(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    try:
        return origin is None or urlsplit(origin).netloc.lower() == request.host.lower()
    except ValueError:  # For example an incomplete IPv6 address.
        return False
