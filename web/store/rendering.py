"""Rendering pages: a template with the parts that all pages share."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp_jinja2
from aiohttp import web
from aiohttp_session import get_session
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore import carts, i18n
from bookstore.catalogue import categories, covers, facets
from bookstore.catalogue.categories import Category
from bookstore.catalogue.facets import LanguageCount
from bookstore.database.engine import reading, request_deadline, retry_transaction
from bookstore.errors import (
    BadCode,
    BadCredentials,
    BookstoreError,
    EmailTaken,
    Invalid,
    InvalidFields,
)
from bookstore.i18n import _
from web.auth import guest_cart, sessions
from web.server.keys import ENGINE, RATES, SETTINGS, USER
from web.server.problems import from_store_error
from web.store import assets, display_settings, flash, formatting, html
from web.store.facet_counts import FACET_COUNTS, FacetCounts

TEMPLATES = web.AppKey("store_templates", Environment)

#: How many categories fit into the navigation below the page header.
_NAV_CATEGORIES = 7
#: Minimum age before a refresh.  Categories change rarely, and every page shows them.
_CACHE_S = 5.0
#: The refresh interval is at least the duration of the last query times this factor.  Counting a
#: million books takes a second.
_DELAY_FACTOR = 20
#: A request does not wait for a refresh whose last run took longer than `_SLOW_S`, unless the
#: cached data is older than `_STALE_S`.
_SLOW_S, _STALE_S = 0.1, 120.0
_QUERY_TIMEOUT_S = 60.0
#: The field of a form beside which the message of an error is shown.
FIELDS: Mapping[type[BookstoreError], str] = {
    BadCode: "code",
    BadCredentials: "password",
    EmailTaken: "email",
}


class Navigation(NamedTuple):
    """The data of the navigation: all categories, the top ones with books, and the languages."""

    tree: Sequence[Category]
    top_categories: Sequence[Category]
    languages: Sequence[LanguageCount]


class NavigationCache:
    """The navigation, refreshed every few seconds; a slow query is repeated less often."""

    def __init__(self) -> None:
        self.latest = Navigation([], [], [])
        self._refreshed_at = float("-inf")
        self._duration_s = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    async def get(self, engine: AsyncEngine) -> Navigation:
        """The navigation of a few seconds ago.

        Concurrent requests share one refresh and wait for it, unless counting the books is slow.
        """
        age_s = asyncio.get_running_loop().time() - self._refreshed_at
        if age_s >= max(_CACHE_S, _DELAY_FACTOR * self._duration_s):
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.ensure_future(self._refresh(engine))
                # Retrieve the exception: asyncio logs it otherwise.  The next request retries.
                self._refreshing.add_done_callback(lambda it: it.cancelled() or it.exception())
            if self._duration_s < _SLOW_S or age_s >= _STALE_S:
                # A deadline: while the database is down, requests must not wait without limit.
                async with request_deadline(engine):
                    await asyncio.shield(self._refreshing)
        return self.latest

    async def _refresh(self, engine: AsyncEngine) -> None:
        started = asyncio.get_running_loop().time()
        async with reading(engine.execution_options(timeout_s=_QUERY_TIMEOUT_S)) as conn:
            tree = await categories.tree(conn)
            languages = await facets.languages(conn)
        self.latest = Navigation(tree, _top_categories(tree), languages)
        self._refreshed_at = asyncio.get_running_loop().time()
        self._duration_s = self._refreshed_at - started


NAVIGATION = web.AppKey("store_navigation", NavigationCache)


async def current_navigation(request: web.Request) -> Navigation:
    """The navigation of a few seconds ago."""
    return await request.config_dict[NAVIGATION].get(request.config_dict[ENGINE])


def prepare(app: web.Application) -> None:
    """Set up the application to render pages."""
    app[NAVIGATION] = NavigationCache()
    app[FACET_COUNTS] = FacetCounts()
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
    install_translations(environment)
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
        "all_languages": i18n.LANGUAGES,
        "store_name": settings.store_name,
    }


def install_translations(environment: Environment) -> None:
    """Install the translation functions, which use the visitor's language."""
    # The i18n extension adds this method at runtime.
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        i18n._, i18n.ngettext, newstyle=True
    )
    environment.globals["language_code"] = i18n.current


async def page(
    request: web.Request, template: str, *, status: int = 200, **content: Any
) -> web.Response:
    """The page with the visitor's own data; it must not be stored in caches."""
    navigation = await current_navigation(request)
    count, notices = await _cart_count(request), flash.pop_notices(await get_session(request))
    content = {"cart_count": count, "notices": notices} | content
    return _rendered(request, template, status, navigation, content)


async def form_page(
    request: web.Request,
    template: str,
    error: BookstoreError | None = None,
    fields: Mapping[type[BookstoreError], str] = FIELDS,
    *,
    invalid_status: int = 422,
    **content: Any,
) -> web.Response:
    """A page with a form; after an error, with its message.

    The message of an `Invalid`, and of the errors in `fields`, is shown beside its field, with
    `invalid_status`.  Other errors are shown above the form, with their own status and headers.
    """
    if error is None:
        return await page(request, template, **content)
    field = error.field if isinstance(error, Invalid) else fields.get(type(error))
    if field is not None:
        wrong_password = isinstance(error, BadCredentials)
        text = _("This password is incorrect.") if wrong_password else error.translated()
        faults = {field: text}
        if isinstance(error, InvalidFields):
            faults = {name: i18n.translated(it) for name, it in error.details.items()}
        return await page(request, template, status=invalid_status, faults=faults, **content)
    problem = from_store_error(error)
    response = await page(request, template, status=problem.status, refusal=error, **content)
    response.headers.update(problem.headers)
    return response


def plain_page(request: web.Request, template: str, *, status: int, **content: Any) -> web.Response:
    """A page for errors: it reads neither the database nor the session."""
    navigation = request.config_dict[NAVIGATION].latest
    content |= {"cart_count": None, "notices": []}
    return _rendered(request, template, status, navigation, content)


def _rendered(
    request: web.Request,
    template: str,
    status: int,
    navigation: Navigation,
    content: dict[str, Any],
) -> web.Response:
    html = aiohttp_jinja2.render_string(
        template,
        request,
        {
            "here": request.path_qs,
            "languages": navigation.languages,
            "nav_categories": navigation.top_categories[:_NAV_CATEGORIES],
            "current_category": None,
            "faults": {},
            "refusal": None,
            "top_categories": navigation.top_categories,
            "theme": display_settings.of(request),
            "typed": {},
            "user": request.get(USER),
        }
        | content,
        app_key=TEMPLATES,
    )
    headers = {"Cache-Control": "no-store"}
    return web.Response(text=html, status=status, content_type="text/html", headers=headers)


async def _cart_count(request: web.Request) -> int:
    if request[USER] is None and await sessions.guest_cart_id(request) is None:
        return 0

    async def work() -> int:
        async with reading(request.config_dict[ENGINE]) as conn:
            cart_id = await guest_cart.find(request, conn)
            return (await carts.get(conn, cart_id, request.config_dict[RATES])).item_count

    return await retry_transaction(work)


def _top_categories(tree: Sequence[Category]) -> list[Category]:
    """Top categories with books, by position, then by number of books."""
    tops = [category for category in tree if category.parent is None and category.book_count]
    return sorted(tops, key=lambda category: (category.position, -category.book_count))
