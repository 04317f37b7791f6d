"""Lists of books: a shelf, an author, or what was searched for."""

from collections.abc import Sequence

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import authors, books, categories, did_you_mean, facets, listing, search
from bookstore.catalogue.categories import Category
from bookstore.catalogue.facets import Count, Facets
from bookstore.catalogue.listing import Query, Sort
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading
from bookstore.errors import Invalid, InvalidIsbn, NotFound
from bookstore.orders.bestsellers import LanguageCount
from web.server.keys import ENGINE
from web.store.book_filters import Choice
from web.store.cached_pages import kept
from web.store.facet_counts import COUNTS
from web.store.rendering import SHELVES, page

_PAGE = 20
#: The commonest languages; whoever wants another one searches for it.
_LANGUAGES = 8
#: Of a word that is found nowhere, so many letters are tried: endings are where spelling differs.
_BEGINNINGS = (5, 3)


async def show(request: web.Request) -> web.StreamResponse:
    """GET /books: at one address for each choice, and straight to the book for an ISBN."""
    choice = Choice.of(request.query)
    if choice.fields != dict(request.query):
        raise web.HTTPSeeOther(choice.address)
    if choice.fields.keys() == {"q"} and (book := await _by_isbn(request, choice.q)):
        raise web.HTTPSeeOther(f"/books/{book.id}")
    return await _list(request)


@kept
async def _list(request: web.Request) -> web.Response:
    choice = Choice.of(request.query)
    engine = request.config_dict[ENGINE]
    frame = await request.config_dict[SHELVES].get(engine)
    near: list[Book] = []
    meant = None
    async with reading(engine) as conn:
        shelf = await _shelf(conn, frame.tree, choice.category)
        author = await authors.get(conn, int(choice.author)) if choice.author else None
        try:
            found = await listing.find(
                conn, choice.query(), cursor=choice.cursor or None, limit=_PAGE
            )
            numbers = await request.config_dict[COUNTS].get(conn, choice.query())
        except Invalid:  # A cursor or a language that nobody was given by us.
            raise NotFound from None
        if not found.items and not choice.cursor:
            meant, near = await _near(conn, choice)
    return await page(
        request,
        "books.html" if found.items or choice.cursor else "nothing.html",
        author=author,
        books=found.items,
        category=shelf,
        choice=choice,
        first=choice.pages_before * _PAGE + 1,
        formats=sorted({*numbers.formats} | ({choice.format} if choice.format else set())),
        meant=meant,
        near=near,
        next=choice.next(found.next) if found.next else None,
        numbers=numbers,
        shelf=shelf.slug if shelf else None,
        shown_languages=_languages(choice, numbers, frame.languages),
        shown_shelves=_beside(frame.tree, frame.shelves, shelf, numbers),
        sorts=_sorts(choice),
    )


async def _by_isbn(request: web.Request, question: str) -> Book | None:
    try:
        async with reading(request.config_dict[ENGINE]) as conn:
            return await books.by_isbn(conn, question)
    except (InvalidIsbn, NotFound):
        return None


async def _shelf(conn: AsyncConnection, tree: Sequence[Category], slug: str) -> Category | None:
    """The category, which may be younger than the tree.

    Raises:
        NotFound: there is none.
    """
    if not slug:
        return None
    known = next((category for category in tree if category.slug == slug), None)
    return known or await categories.get(conn, slug)


async def _near(conn: AsyncConnection, choice: Choice) -> tuple[str | None, list[Book]]:
    """For whoever found nothing: what was meant perhaps, and books that are near to it."""
    if not choice.q:
        return None, []
    if choice.filters:
        found = await listing.find(conn, Query(q=choice.q), limit=_PAGE)
        if found.items:
            return None, found.items
    meant = await did_you_mean.meant(conn, choice.q)
    if meant is not None:
        return meant, (await listing.find(conn, Query(q=meant), limit=_PAGE)).items
    word = max(search.words_of(choice.q), key=len, default="")
    for length in _BEGINNINGS:
        if len(word) > length:
            found = await listing.find(conn, Query(q=word[:length]), limit=_PAGE // 2)
            if found.items:
                return None, found.items
    return None, []


def _beside(
    tree: Sequence[Category],
    tops: Sequence[Category],
    shelf: Category | None,
    numbers: Facets,
) -> list[tuple[Category, Count]]:
    """The shelves to choose from, with how many books each would leave: those at the top, and
    what lies around the chosen one."""
    around = {shelf.slug, shelf.parent} if shelf else set()
    none = Count(0, False)
    shown = [
        category
        for category in tree
        if category in tops
        or category.slug in around
        or (category.parent in around and category.parent is not None)
    ]
    found = [(category, numbers.categories.get(category.slug, none)) for category in shown]
    return [(category, number) for category, number in found if number.number or category is shelf]


def _languages(
    choice: Choice, numbers: Facets, known: Sequence[LanguageCount]
) -> list[tuple[str, Count]]:
    """The languages to choose from; a language has the books in its regional forms too."""
    shown = []
    for tag, _ in known:
        forms = [
            it
            for own, it in numbers.languages.items()
            if own == tag or own[: len(tag) + 1] == f"{tag}-"
        ]
        number = Count(
            min(sum(it.number for it in forms), facets.MOST), any(it.more for it in forms)
        )
        if number.number or tag == choice.language:
            shown.append((tag, number))
    return shown[:_LANGUAGES]


def _sorts(choice: Choice) -> list[tuple[str, str, bool]]:
    """The links that sort the list: name, address, and whether it is sorted so."""
    names = {
        Sort.RELEVANCE: "best",
        Sort.NEWEST: "newest",
        Sort.TITLE: "title",
        Sort.PRICE: "price",
        Sort.PRICE_DOWN: "price-down",
        Sort.YEAR_DOWN: "year",
    }
    default = Sort.RELEVANCE if choice.q else Sort.NEWEST
    if not choice.q:
        del names[Sort.RELEVANCE]
    current = choice.sort or default
    return [
        (name, choice.but(sort="" if sort is default else sort), sort == current)
        for sort, name in names.items()
    ]
