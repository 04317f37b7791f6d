"""Light or dark, and the language: kept in cookies, so that the first byte is right already."""

from collections.abc import Collection
from datetime import timedelta

from aiohttp import web

from bookstore.database.engine import transaction
from bookstore.i18n import LANGUAGES, Language
from bookstore.users import accounts
from web.server import languages
from web.server.keys import ENGINE, SETTINGS, USER
from web.server.request_context import now
from web.store import forms

_COOKIE = "theme"
_THEMES = ("auto", "light", "dark")
_KEPT = timedelta(days=400)  # Browsers keep no cookie for longer.


def of(request: web.Request) -> str:
    """The visitor's choice; `auto` goes with their system."""
    chosen = request.cookies.get(_COOKIE, "auto")
    return chosen if chosen in _THEMES else "auto"


async def choose(request: web.Request) -> web.Response:
    """POST /theme: back to where the visitor was."""
    raise await _back(request, _COOKIE, _THEMES)


async def choose_language(request: web.Request) -> web.Response:
    """POST /language: the same; a user gets their letters in it, too."""
    user, chosen = request[USER], (await forms.read(request)).get(languages.COOKIE)
    if user is not None and chosen in LANGUAGES:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await accounts.change_language(conn, user.id, Language(chosen), now=now())
    raise await _back(request, languages.COOKIE, LANGUAGES)


async def _back(request: web.Request, name: str, values: Collection[str]) -> web.HTTPSeeOther:
    """The way back, with the choice in a cookie if it is one of these values."""
    form = await forms.read(request)
    chosen = form.get(name, "")
    back = web.HTTPSeeOther(forms.local(form.get("next")))
    if chosen in values:
        back.set_cookie(
            name,
            chosen,
            max_age=int(_KEPT.total_seconds()),
            secure=request.config_dict[SETTINGS].base_url.startswith("https:"),
            httponly=True,
            samesite="Lax",
        )
    return back
