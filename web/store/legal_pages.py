"""Imprint, terms, privacy and right of withdrawal, written by staff."""

from email.utils import parseaddr

from aiohttp import web
from markupsafe import Markup

from bookstore import i18n
from bookstore.backoffice import legal_texts
from bookstore.backoffice.legal_texts import Text
from web.server.keys import SETTINGS
from web.server.transactions import read
from web.store.cached_pages import cached
from web.store.rendering import page


@cached
async def show(request: web.Request) -> web.Response:
    """GET /imprint, /terms, /privacy, /withdrawal."""
    name = request.match_info["name"]
    # The default texts exist in these languages only.
    language = i18n.current() if i18n.current() in legal_texts.LANGUAGES else i18n.DEFAULT
    text = await read(request, legal_texts.get, name, language)
    return await page(request, "text.html", text=text, body=render_text(request, text))


def render_text(request: web.Request, text: Text) -> Markup:
    """The text as HTML, with the store's name and e-mail address inserted."""
    settings = request.config_dict[SETTINGS]
    facts = {"store_name": settings.store_name, "email": parseaddr(settings.mail_from)[1]}
    return Markup(legal_texts.html(text, facts))  # noqa: S704 - `legal_texts.html` has sanitized it
