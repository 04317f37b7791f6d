"""What is refused before any handler runs, and the headers that every answer carries."""

from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from web.access import Open, admit
from web.keys import ACCESS, SETTINGS, USER
from web.refusals import CrossSiteRequest

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
async def same_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what another site makes a browser send.

    `Sec-Fetch-Site` decides where it is present, else the `Origin`'s host must be the
    request's.  A client that sends neither is a program, and no browser lends it a cookie.
    """
    if request.method not in SAFE and not _from_here(request):
        raise CrossSiteRequest
    return await handler(request)


@web.middleware
async def admitted(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the visitor in where their role may come in."""
    access = request.config_dict[ACCESS].get(request.match_info.route, Open.ANYONE)
    admit(request[USER], access)
    return await handler(request)


async def send_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers on an answer; a signal, so that streams have them too."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.config_dict[SETTINGS].base_url.startswith("https:"):
        response.headers["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
    # What we run is nobody's business.
    response.headers.popall("Server", None)


def _from_here(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    try:
        return origin is None or urlsplit(origin).netloc.lower() == request.host.lower()
    except ValueError:  # Such as half of an IPv6 address.
        return False
