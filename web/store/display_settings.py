"""Theme and language, stored in cookies so that the first response is correct already."""

from collections.abc import Collection
from datetime import timedelta

from aiohttp import web

from bookstore.i18n import LANGUAGES, Language
from bookstore.users import accounts
from web.server import languages
from web.server.keys import SETTINGS, USER
from web.server.request_context import now
from web.server.transactions import write
from web.store import forms

_COOKIE = "theme"
_THEMES = ("auto", "light", "dark")
_COOKIE_LIFETIME = timedelta(days=400)  # Browsers limit it to 400 days.


def of(request: web.Request) -> str:
    """The theme of the visitor; `auto` follows the system setting."""
    chosen = request.cookies.get(_COOKIE, "auto")
    return chosen if chosen in _THEMES else "auto"


async def choose(request: web.Request) -> web.Response:
    """POST /theme: store the theme and redirect back."""
    raise await _back(request, _COOKIE, _THEMES)


async def choose_language(request: web.Request) -> web.Response:
    """POST /language: store the language, also for a user's e-mails, and redirect."""
    user, chosen = request[USER], (await forms.read(request)).get(languages.COOKIE)
    if user is not None and chosen in LANGUAGES:
        await write(request, accounts.change_language, user.id, Language(chosen), now=now())
    raise await _back(request, languages.COOKIE, LANGUAGES)


async def _back(request: web.Request, name: str, values: Collection[str]) -> web.HTTPSeeOther:
    """The redirect back, which sets the cookie if the value is allowed."""
    form = await forms.read(request)
    chosen = form.get(name, "")
    back = web.HTTPSeeOther(forms.local(form.get("next")))
    if chosen in values:
        back.set_cookie(
            name,
            chosen,
            max_age=int(_COOKIE_LIFETIME.total_seconds()),
            secure=request.config_dict[SETTINGS].base_url.startswith("https:"),
            httponly=True,
            samesite="Lax",
        )
    return back
