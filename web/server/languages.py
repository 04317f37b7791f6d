"""The language of a request: the visitor's choice, else the browser's preference."""

from functools import lru_cache

from aiohttp import web
from aiohttp.typedefs import Handler

from bookstore import i18n
from bookstore.i18n import DEFAULT, LANGUAGES, Language
from bookstore.regional import money, shop_time
from bookstore.users import passwords
from web.server.keys import SETTINGS, USER

COOKIE = "language"


@web.middleware
async def set_language(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Set the language, currency and time zone of the request. The API and the back office are in
    English."""
    # One asyncio task serves all requests of a connection, so set them for each request.
    settings = request.config_dict[SETTINGS]
    money.set_store_currency(settings.currency)
    shop_time.set_zone(settings.time_zone)
    passwords.set_store_name(settings.store_name)
    i18n.set_language(language_of(request))
    return await handler(request)


def language_of(request: web.Request) -> Language:
    """The language of the response to this request."""
    if request.path.startswith(("/api/", "/admin")):
        return DEFAULT
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return Language(chosen)
    return _preferred(request.headers.get("Accept-Language", ""))


def email_language(request: web.Request) -> Language:
    """The language of e-mails to the sender of this request.

    The order is: the chosen language, `Accept-Language`, the language stored in the account.
    """
    chosen, user = request.cookies.get(COOKIE), request[USER]
    if chosen in LANGUAGES:
        return Language(chosen)
    accepted = request.headers.get("Accept-Language", "")
    return user.language if user and not accepted else _preferred(accepted)


@lru_cache(maxsize=1000)
def _preferred(header: str) -> Language:
    """The supported language that the header prefers (RFC 9110, section 12.5.4)."""
    preferences: list[tuple[float, str]] = []
    for part in header[:500].split(","):
        tag, _, weight = part.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            quality = 0.0
        if quality > 0:
            preferences.append((quality, tag.strip()))
    preferences.sort(key=lambda it: -it[0])
    return i18n.negotiate(tag for _, tag in preferences)
