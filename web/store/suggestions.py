"""Search suggestions while typing; without scripts, a page of its own."""

from collections.abc import Sequence

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import authors, did_you_mean, listing, search
from bookstore.catalogue.categories import Category
from bookstore.catalogue.listing import BookQuery
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading
from web.server.keys import ENGINE
from web.store.cached_pages import cached
from web.store.rendering import current_navigation, page

_MAX_BOOKS, _MAX_AUTHORS, _MAX_CATEGORIES = 5, 3, 3
_LONGEST = 500


@cached
async def show(request: web.Request) -> web.Response:
    """GET /suggestions; `q` is the text typed so far."""
    question = request.query.get("q", "").strip()[:_LONGEST]
    navigation = await current_navigation(request)
    meant = None
    async with reading(request.config_dict[ENGINE]) as conn:
        books = await _books(conn, question)
        people = (await authors.find(conn, question, limit=_MAX_AUTHORS)).items if question else []
        if question and not books and not people:
            meant = await did_you_mean.suggest(conn, question)
            books = await _books(conn, meant) if meant else []
    return await page(
        request,
        "suggestions.html",
        authors=people,
        books=books,
        meant=meant,
        question=question,
        found_categories=_matching_categories(navigation.tree, question),
    )


async def _books(conn: AsyncConnection, question: str) -> list[Book]:
    if not question:
        return []
    return (await listing.find(conn, BookQuery(q=question), limit=_MAX_BOOKS)).items


def _matching_categories(tree: Sequence[Category], question: str) -> list[Category]:
    """Categories whose names contain, for each query word, a word that starts with it."""
    words = search.query_words(question)
    if not words:
        return []
    return [
        category
        for category in tree
        if category.book_count
        and all(f" {word}" in f" {search.normalize(category.name)}" for word in words)
    ][:_MAX_CATEGORIES]
