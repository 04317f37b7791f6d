"""Light or dark: kept in a cookie, so that the first byte of a page is right already."""

from datetime import timedelta

from aiohttp import web

from web.keys import SETTINGS
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
    form = await forms.read(request)
    chosen = form.get("theme", "auto")
    back = web.HTTPSeeOther(forms.local(form.get("next")))
    if chosen in _THEMES:
        back.set_cookie(
            _COOKIE,
            chosen,
            max_age=int(_KEPT.total_seconds()),
            secure=request.config_dict[SETTINGS].base_url.startswith("https:"),
            httponly=True,
            samesite="Lax",
        )
    raise back
