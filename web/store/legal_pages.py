"""Imprint, terms, privacy and withdrawal: what staff have written about the store."""

from email.utils import parseaddr

from aiohttp import web
from markupsafe import Markup

from bookstore import i18n
from bookstore.backoffice import legal_texts
from bookstore.backoffice.legal_texts import Text
from bookstore.database.engine import reading
from web.server.keys import ENGINE, SETTINGS
from web.store.cached_pages import kept
from web.store.rendering import page


@kept
async def show(request: web.Request) -> web.Response:
    """GET /imprint, /terms, /privacy, /withdrawal."""
    name = request.match_info["name"]
    # What stands in the place of texts that nobody has written in a language yet.
    language = i18n.current() if i18n.current() in legal_texts.LANGUAGES else i18n.DEFAULT
    async with reading(request.config_dict[ENGINE]) as conn:
        text = await legal_texts.get(conn, name, language)
    return await page(request, "text.html", text=text, body=shown(request, text))


def shown(request: web.Request, text: Text) -> Markup:
    """The text with the store's own name and address in it."""
    settings = request.config_dict[SETTINGS]
    facts = {"store_name": settings.store_name, "email": parseaddr(settings.mail_from)[1]}
    return Markup(legal_texts.html(text, facts))  # noqa: S704 - `texts.html` has cleaned it
