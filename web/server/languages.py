"""The language of a request: the visitor's choice, else what their browser prefers."""

from functools import lru_cache

from aiohttp import web
from aiohttp.typedefs import Handler

from bookstore import i18n
from bookstore.i18n import DEFAULT, LANGUAGES, Language
from web.server.keys import USER

COOKIE = "language"


@web.middleware
async def spoken(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Speak the visitor's language.  The API and the dashboard speak English."""
    # One task serves all requests of a connection, so it is set for each.
    i18n.speak(of(request))
    return await handler(request)


def of(request: web.Request) -> Language:
    """The language in which this request is answered."""
    if request.path.startswith(("/api/", "/admin")):
        return DEFAULT
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return Language(chosen)
    return _preferred(request.headers.get("Accept-Language", ""))


def of_letters(request: web.Request) -> Language:
    """In which language to write to whoever sends this request.

    Programs ask for it with `Accept-Language`; where nobody asks for any, accounts remember one.
    """
    chosen, user = request.cookies.get(COOKIE), request[USER]
    if chosen in LANGUAGES:
        return Language(chosen)
    accepted = request.headers.get("Accept-Language", "")
    return user.language if user and not accepted else _preferred(accepted)


@lru_cache(maxsize=1000)
def _preferred(header: str) -> Language:
    """What is liked best of the languages that we speak (RFC 9110, section 12.5.4)."""
    liked: list[tuple[float, str]] = []
    for part in header[:500].split(","):
        tag, _, weight = part.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            quality = 0.0
        if quality > 0:
            liked.append((quality, tag.strip()))
    liked.sort(key=lambda it: -it[0])
    return i18n.wanted(tag for _, tag in liked)
