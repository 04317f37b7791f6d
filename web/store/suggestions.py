"""What a search may be about, while it is still being typed; a page of its own without scripts."""

from collections.abc import Sequence

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import authors, did_you_mean, listing, search
from bookstore.catalogue.categories import Category
from bookstore.catalogue.listing import Query
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading
from web.server.keys import ENGINE
from web.store.cached_pages import kept
from web.store.rendering import SHELVES, page

_BOOKS, _AUTHORS, _SHELVES = 5, 3, 3
_LONGEST = 500


@kept
async def show(request: web.Request) -> web.Response:
    """GET /suggestions; `q` is what was typed so far."""
    question = request.query.get("q", "").strip()[:_LONGEST]
    engine = request.config_dict[ENGINE]
    frame = await request.config_dict[SHELVES].get(engine)
    meant = None
    async with reading(engine) as conn:
        books = await _books(conn, question)
        people = (await authors.find(conn, question, limit=_AUTHORS)).items if question else []
        if question and not books and not people:
            meant = await did_you_mean.meant(conn, question)
            books = await _books(conn, meant) if meant else []
    return await page(
        request,
        "suggestions.html",
        authors=people,
        books=books,
        meant=meant,
        question=question,
        found_shelves=_shelves(frame.tree, question),
    )


async def _books(conn: AsyncConnection, question: str) -> list[Book]:
    return (await listing.find(conn, Query(q=question), limit=_BOOKS)).items if question else []


def _shelves(tree: Sequence[Category], question: str) -> list[Category]:
    """Shelves in whose names all words begin a word."""
    words = search.words_of(question)
    return [
        category
        for category in tree
        if category.book_count
        and words
        and all(f" {word}" in f" {search.normal(category.name)}" for word in words)
    ][:_SHELVES]
