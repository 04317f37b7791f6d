"""Lists of books: a shelf, an author, or what was searched for."""

from collections.abc import Sequence

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import authors, books, categories, listing, search
from bookstore.categories import Category
from bookstore.db import reading
from bookstore.errors import Invalid, InvalidIsbn, NotFound
from bookstore.listing import Query, Sort
from bookstore.records import Book
from web.keys import ENGINE
from web.store.choice import Choice
from web.store.kept import kept
from web.store.page import SHELVES, page

_PAGE = 20
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
    async with reading(engine) as conn:
        shelf = await _shelf(conn, frame.tree, choice.category)
        author = await authors.get(conn, int(choice.author)) if choice.author else None
        try:
            found = await listing.find(conn, choice.query(), cursor=choice.cursor or None)
        except Invalid:  # A cursor or a language that nobody was given by us.
            raise NotFound from None
        if not found.items and not choice.cursor:
            near = await _near(conn, choice)
    return await page(
        request,
        "books.html" if found.items or choice.cursor else "nothing.html",
        author=author,
        books=found.items,
        category=shelf,
        choice=choice,
        near=near,
        next=choice.next(found.next) if found.next else None,
        shelf=shelf.slug if shelf else None,
        shown_shelves=_beside(frame.tree, frame.shelves, shelf),
        sorts=_sorts(choice),
        total=_total(choice, shelf, None if found.next else len(found.items)),
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


async def _near(conn: AsyncConnection, choice: Choice) -> list[Book]:
    """Books for whoever found none: without the filters, or with words that begin alike."""
    if not choice.q:
        return []
    if choice.filters:
        found = await listing.find(conn, Query(q=choice.q), limit=_PAGE)
        if found.items:
            return found.items
    word = max(search.normal(choice.q).split(), key=len, default="")
    for length in _BEGINNINGS:
        if len(word) > length:
            found = await listing.find(conn, Query(q=word[:length]), limit=_PAGE // 2)
            if found.items:
                return found.items
    return []


def _beside(
    tree: Sequence[Category], tops: Sequence[Category], shelf: Category | None
) -> list[Category]:
    """The shelves to choose from: those at the top, and what lies around the chosen one."""
    if shelf is None:
        return list(tops)
    around = {shelf.slug, shelf.parent}
    return [
        category
        for category in tree
        if category in tops
        or category.slug in around
        or (category.parent in around and category.parent is not None and category.book_count)
    ]


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


def _total(choice: Choice, shelf: Category | None, on_page: int | None) -> int | None:
    """How many books there are, where that is known without counting."""
    if shelf is not None and choice.fields.keys() <= {"category", "sort", "cursor", "trail"}:
        return shelf.book_count
    return on_page if not choice.cursor else None
