"""A page: its template within the frame that all pages have."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import aiohttp_jinja2
from aiohttp import web
from aiohttp_session import get_session
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore import carts as cart_service
from bookstore import i18n
from bookstore.catalogue import categories, covers
from bookstore.catalogue.categories import Category
from bookstore.database.engine import reading, request_deadline, retry_transaction
from bookstore.orders import bestsellers
from bookstore.orders.bestsellers import LanguageCount
from web.auth import guest_cart, sessions
from web.server.keys import ENGINE, RATES, SETTINGS, USER
from web.store import assets, display_settings, flash, formatting, html
from web.store.facet_counts import COUNTS, Counts

TEMPLATES = web.AppKey("store_templates", Environment)

#: How many shelves there is room for under the fascia.
_SHELVES = 7
#: Shelves change seldom, and every page shows them.
_KEPT_S = 5.0
#: They rest for so many times as long as it took to count their books: a million take a second.
_REST = 20
#: What takes longer is no longer waited for, unless the shelves are as old as this.
_LONG_S, _OLD_S = 0.1, 120.0
_PATIENCE_S = 60.0


class Frame(NamedTuple):
    """The store's shelves, which stand on every page: the whole tree, and its top."""

    tree: Sequence[Category]
    shelves: Sequence[Category]
    languages: Sequence[LanguageCount]


class Shelves:
    """The shelves, asked for every few seconds; the longer that takes, the more seldom."""

    def __init__(self) -> None:
        self.latest = Frame([], [], [])
        self._asked_at = float("-inf")
        self._took_s = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def get(self, engine: AsyncEngine) -> Frame:
        """The shelves as they were a moment ago.

        Who comes while they are looked up waits along, but not where books are so many that
        counting them takes long.
        """
        age_s = asyncio.get_running_loop().time() - self._asked_at
        if age_s >= max(_KEPT_S, _REST * self._took_s):
            if self._asking is None or self._asking.done():
                self._asking = asyncio.ensure_future(self._ask(engine))
                # Whoever does not wait must not be told either; the next one asks again.
                self._asking.add_done_callback(lambda it: it.cancelled() or it.exception())
            if self._took_s < _LONG_S or age_s >= _OLD_S:
                # Not one after the other: while the database is away that would take for ever.
                async with request_deadline(engine):
                    await asyncio.shield(self._asking)
        return self.latest

    async def _ask(self, engine: AsyncEngine) -> None:
        began = asyncio.get_running_loop().time()
        async with reading(engine.execution_options(timeout_s=_PATIENCE_S)) as conn:
            tree = await categories.tree(conn)
            languages = await bestsellers.languages(conn)
        self.latest = Frame(tree, _tops(tree), languages)
        self._asked_at = asyncio.get_running_loop().time()
        self._took_s = self._asked_at - began


SHELVES = web.AppKey("store_shelves", Shelves)


def prepare(app: web.Application) -> None:
    """Let the application make pages."""
    app[SHELVES] = Shelves()
    app[COUNTS] = Counts()
    environment = aiohttp_jinja2.setup(
        app,
        app_key=TEMPLATES,
        default_helpers=False,
        loader=PackageLoader("web.store"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        filters=formatting.FILTERS,
    )
    speak(environment)
    settings = app[SETTINGS]
    environment.globals |= {
        "blurb": html.blurb,
        "cloth_of": covers.cloth_of,
        "cover": html.cover,
        "credits_of": formatting.credits_of,
        "currency": app[RATES].currency,
        "file": assets.url,
        "rates": app[RATES],
        "site": settings.base_url.rstrip("/"),
        "stock_of": formatting.stock_of,
        "spoken": i18n.LANGUAGES,
        "store_name": settings.store_name,
    }


def speak(environment: Environment) -> None:
    """Let templates say what they say in the visitor's language."""
    # Put there by the extension.
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        i18n._, i18n.ngettext, newstyle=True
    )
    environment.globals["language_code"] = i18n.current


async def page(
    request: web.Request, template: str, *, status: int = 200, **content: Any
) -> web.Response:
    """The page, for this visitor and nobody else."""
    engine = request.config_dict[ENGINE]
    frame = await request.config_dict[SHELVES].get(engine)
    personal = {
        "cart_count": await _cart_count(request),
        "notices": flash.taken(await get_session(request)),
    }
    return _rendered(request, template, status, frame, personal | content)


def plain_page(request: web.Request, template: str, *, status: int, **content: Any) -> web.Response:
    """A page that can be made whatever is broken: it asks neither database nor session."""
    frame = request.config_dict[SHELVES].latest
    return _rendered(
        request, template, status, frame, {"cart_count": None, "notices": []} | content
    )


def _rendered(
    request: web.Request, template: str, status: int, frame: Frame, content: dict[str, Any]
) -> web.Response:
    html = aiohttp_jinja2.render_string(
        template,
        request,
        {
            "here": request.path_qs,
            "languages": frame.languages,
            "nav": frame.shelves[:_SHELVES],
            "shelf": None,
            "shelves": frame.shelves,
            "theme": display_settings.of(request),
            "user": request.get(USER),
        }
        | content,
        app_key=TEMPLATES,
    )
    return web.Response(
        text=html,
        status=status,
        content_type="text/html",
        headers={"Cache-Control": "no-store"},
    )


async def _cart_count(request: web.Request) -> int:
    if request[USER] is None and await sessions.guest_cart(request) is None:
        return 0

    async def work() -> int:
        async with reading(request.config_dict[ENGINE]) as conn:
            cart_id = await guest_cart.found(request, conn)
            return (await cart_service.get(conn, cart_id, request.config_dict[RATES])).item_count

    return await retry_transaction(work)


def _tops(tree: Sequence[Category]) -> list[Category]:
    """The shelves that have books: as staff have put them, else the fullest first."""
    tops = [category for category in tree if category.parent is None and category.book_count]
    return sorted(tops, key=lambda category: (category.position, -category.book_count))
