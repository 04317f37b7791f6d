"""Lists of books: a category, an author or search results."""

from collections.abc import Sequence
from dataclasses import replace

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import authors, books, categories, did_you_mean, facets, listing, search
from bookstore.catalogue.categories import Category
from bookstore.catalogue.facets import Count, Facets, LanguageCount
from bookstore.catalogue.listing import BookQuery, Sort
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading
from bookstore.errors import Invalid, InvalidIsbn, NotFound
from web.server.keys import ENGINE
from web.server.transactions import read
from web.store.book_filters import Choice
from web.store.cached_pages import cached
from web.store.facet_counts import FACET_COUNTS
from web.store.rendering import Navigation, current_navigation, page

_PAGE = 20
#: How many languages the filter offers, the most frequent first.
_MAX_LANGUAGES = 8
#: Prefix lengths to search for if a word is not found; misspellings are mostly in the ending.
_PREFIX_LENGTHS = (5, 3)


async def show(request: web.Request) -> web.StreamResponse:
    """GET /books: one canonical URL for each list.  An ISBN redirects to its book."""
    choice = Choice.of(request.query)
    if choice.fields != dict(request.query):
        raise web.HTTPSeeOther(choice.address)
    if choice.fields.keys() == {"q"} and (book := await _by_isbn(request, choice.q)):
        raise web.HTTPSeeOther(f"/books/{book.id}")
    return await _list(request)


@cached
async def _list(request: web.Request) -> web.Response:
    choice = Choice.of(request.query)
    navigation = await current_navigation(request)
    near: list[Book] = []
    meant = None
    async with reading(request.config_dict[ENGINE]) as conn:
        category = await _find_category(conn, navigation.tree, choice.category)
        author = await authors.get(conn, int(choice.author)) if choice.author else None
        try:
            query, cursor = choice.query(), choice.cursor or None
            found = await listing.find(conn, query, cursor=cursor, limit=_PAGE)
            numbers = await request.config_dict[FACET_COUNTS].get(conn, query)
        except Invalid:  # The cursor or the language is not one of ours.
            raise NotFound from None
        if not found.items and not choice.cursor:
            meant, near = await _alternatives(conn, choice)
    return await page(
        request,
        "books.html" if found.items or choice.cursor else "empty.html",
        author=author,
        books=found.items,
        category=category,
        choice=choice,
        first=choice.pages_before * _PAGE + 1,
        formats=sorted({*numbers.formats} | ({choice.format} if choice.format else set())),
        meant=meant,
        near=near,
        next=choice.next(found.next) if found.next else None,
        numbers=numbers,
        current_category=category.slug if category else None,
        shown_languages=_languages(choice, numbers, navigation.languages),
        category_options=_category_options(navigation, category, numbers),
        sorts=_sorts(choice),
    )


async def _by_isbn(request: web.Request, question: str) -> Book | None:
    try:
        return await read(request, books.by_isbn, question)
    except (InvalidIsbn, NotFound):
        return None


async def _find_category(
    conn: AsyncConnection, tree: Sequence[Category], slug: str
) -> Category | None:
    """The category with this slug.  It may be newer than the cached tree.

    Raises:
        NotFound: there is no such category.
    """
    if not slug:
        return None
    known = next((category for category in tree if category.slug == slug), None)
    return known or await categories.get(conn, slug)


async def _alternatives(conn: AsyncConnection, choice: Choice) -> tuple[str | None, list[Book]]:
    """The corrected query with its results, or None with similar books, for an empty list."""
    if not choice.q:
        return None, []
    if choice.filters:
        found = await listing.find(conn, BookQuery(q=choice.q), limit=_PAGE)
        if found.items:
            return None, found.items
    meant = None if choice.exact else await did_you_mean.suggest(conn, choice.q)
    if meant is not None:
        found = await listing.find(conn, replace(choice.query(), q=meant), limit=_PAGE)
        if found.items:
            return meant, found.items
        return None, (await listing.find(conn, BookQuery(q=meant), limit=_PAGE)).items
    word = max(search.query_words(choice.q), key=len, default="")
    for length in _PREFIX_LENGTHS:
        if len(word) > length:
            found = await listing.find(conn, BookQuery(q=word[:length]), limit=_PAGE // 2)
            if found.items:
                return None, found.items
    return None, []


def _category_options(
    navigation: Navigation, selected: Category | None, numbers: Facets
) -> list[tuple[Category, Count]]:
    """The categories to choose from, each with its number of books.

    These are the top categories, and the parent, siblings and children of the selected one.
    """
    around = {selected.slug, selected.parent} if selected else set()
    options = []
    for category in navigation.tree:
        top, parent = category in navigation.top_categories, category.parent
        if top or category.slug in around or (parent in around and parent is not None):
            number = numbers.categories.get(category.slug, Count(0, False))
            if number.number or category is selected:
                options.append((category, number))
    return options


def _languages(
    choice: Choice, numbers: Facets, known: Sequence[LanguageCount]
) -> list[tuple[str, Count]]:
    """The languages to choose from.  A language includes its regional variants, such as en-US."""
    shown = []
    for tag, _ in known:
        forms = [it for own, it in numbers.languages.items() if f"{own}-".startswith(f"{tag}-")]
        total = min(sum(it.number for it in forms), facets.MAX_COUNT)
        number = Count(total, any(it.more for it in forms))
        if number.number or tag == choice.language:
            shown.append((tag, number))
    return shown[:_MAX_LANGUAGES]


def _sorts(choice: Choice) -> list[tuple[str, str, bool]]:
    """The sort links: name, URL, and whether it is the current order."""
    names = {
        Sort.RELEVANCE: "best",
        Sort.NEWEST: "newest",
        Sort.TITLE: "title",
        Sort.PRICE: "price",
        Sort.PRICE_DESC: "price-down",
        Sort.YEAR_DESC: "year",
    }
    default = Sort.RELEVANCE if choice.q else Sort.NEWEST
    if not choice.q:
        del names[Sort.RELEVANCE]
    current = choice.sort or default
    return [
        (name, choice.but(sort="" if sort is default else sort), sort == current)
        for sort, name in names.items()
    ]
