"""The legal texts of the store: imprint, terms, privacy, withdrawal."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.access import made_by
from admin.rendering import NO_ERROR, FormError, page, run_form
from bookstore.backoffice import legal_texts
from bookstore.backoffice.legal_texts import LANGUAGES, NAMES, Text
from bookstore.database.engine import reading
from web.server.keys import ENGINE
from web.server.transactions import read
from web.store import forms
from web.store.legal_pages import render_text

LIST = "/admin/texts"


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/texts."""
    async with reading(request.config_dict[ENGINE]) as conn:
        found = [await legal_texts.get(conn, name, it) for name in NAMES for it in LANGUAGES]
    return await page(request, "texts.html", texts=found)


async def show(request: web.Request) -> web.Response:
    """GET /admin/texts/{name}/{language}."""
    return await _form(request, await _text(request))


async def save(request: web.Request) -> web.Response:
    """POST /admin/texts/{name}/{language}: save a text; after an error, the form keeps its text."""
    form = forms.once(await forms.sent(request, forms.LONG))
    text = await _text(request)
    version = int(form["version"]) if form.get("version", "").isdecimal() else text.version

    async def work(conn: AsyncConnection) -> str:
        await legal_texts.save(
            conn, text.name, text.language, form.get("body", ""), version, **made_by(request)
        )
        return "The text is saved and published."

    if error := await run_form(request, work):
        return await _form(request, text, FormError.from_error(error, "body", form))
    raise web.HTTPSeeOther(LIST)


async def _text(request: web.Request) -> Text:
    name, language = request.match_info["name"], request.match_info["language"]
    return await read(request, legal_texts.get, name, language)


async def _form(request: web.Request, text: Text, form_error: FormError = NO_ERROR) -> web.Response:
    return await page(
        request, "text.html", text=text, preview=render_text(request, text), form_error=form_error
    )
