"""Checks before any handler runs, and the security headers of every response."""

import asyncio
from urllib.parse import urlsplit

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler

from web.server.errors import CrossSiteRequest
from web.server.keys import EXPECTED, SETTINGS
from web.server.request_context import bearer_token
from web.server.request_limits import LARGEST_FORM, LARGEST_UPLOAD, REQUEST_LIMITS
from web.server.route_access import AccessLevel, authorize_route

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
METHODS = SAFE_METHODS | {"DELETE", "PATCH", "POST", "PUT"}

_API = "/api/"
#: Request headers that pages of other sites may send to the API, and response headers that they
#: may read.
CORS_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
)
CORS_RESPONSE_HEADERS = (
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "X-Request-ID",
)

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
    if not request.raw_path.startswith("/") and not _asks_about_server(request):
        # `CONNECT elsewhere:443`: this server is not a proxy.
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
async def answer_options(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Respond to OPTIONS on every path with its methods; a preflight gets our CORS policy.

    Only pages of `BOOKSTORE_CORS_ORIGINS` may read the API, and without the cookies of the
    browser: they use tokens (https://fetch.spec.whatwg.org/#http-cors-protocol).
    """
    if request.method != hdrs.METH_OPTIONS:
        return await handler(request)
    if _asks_about_server(request):
        return web.Response(status=204, headers={hdrs.ALLOW: ", ".join(sorted(METHODS))})
    mismatch = request.match_info.http_exception
    if not isinstance(mismatch, web.HTTPMethodNotAllowed):
        return await handler(request)
    methods = ", ".join(sorted({*mismatch.allowed_methods, hdrs.METH_OPTIONS}))
    response = web.Response(status=204, headers={hdrs.ALLOW: methods})
    if _may_read(request) and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = methods
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ", ".join(CORS_REQUEST_HEADERS)
        response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = "600"
    return response


async def send_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Allow the pages of `BOOKSTORE_CORS_ORIGINS` to read this response of the API."""
    if not request.path.startswith(_API) or not request.config_dict[SETTINGS].cors_origins:
        return
    response.headers[hdrs.VARY] = ", ".join(
        filter(None, (response.headers.get(hdrs.VARY), hdrs.ORIGIN))
    )
    if _may_read(request):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(CORS_RESPONSE_HEADERS)


def _asks_about_server(request: web.Request) -> bool:
    """Whether this is `OPTIONS *` (RFC 9110, section 9.3.7)."""
    return request.method == hdrs.METH_OPTIONS and request.raw_path == "*"


def _may_read(request: web.Request) -> bool:
    origin = request.headers.get(hdrs.ORIGIN)
    return request.path.startswith(_API) and origin in request.config_dict[SETTINGS].cors_origins


@web.middleware
async def continue_expected(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer `Expect` when nothing else speaks against the request (RFC 9110, section 10.1.1).

    The last middleware: a client that waits for `100 Continue` gets an error instead of it, and
    need not send the body.

    Raises:
        HTTPExpectationFailed: it expects something else.
        HTTPRequestEntityTooLarge: the body is larger than any that a handler accepts.
    """
    expected = request.get(EXPECTED)
    if expected is None or request.match_info.http_exception is not None:
        return await handler(request)
    if expected.lower() != "100-continue":
        raise web.HTTPExpectationFailed
    is_upload = request.content_type.startswith(("multipart/", "image/"))
    most = LARGEST_UPLOAD if is_upload else LARGEST_FORM
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(most, request.content_length or 0)
    if request.version >= HttpVersion11 and not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The headers of the response are still to come.
        request.writer.output_size = 0
    return await handler(request)


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
