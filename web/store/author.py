"""The page of one author, with all available books."""

from aiohttp import web

from bookstore.catalogue import authors, listing
from bookstore.catalogue.listing import BookQuery, Sort
from bookstore.database.engine import reading
from bookstore.errors import Invalid, NotFound
from web.server.keys import ENGINE
from web.store.book_filters import Choice
from web.store.cached_pages import cached
from web.store.rendering import page

_PAGE = 24


@cached
async def show(request: web.Request) -> web.Response:
    """GET /authors/{author_id}: the author's books, latest first."""
    author_id = int(request.match_info["author_id"])
    query = request.query
    choice = Choice(cursor=query.get("cursor", "")[:500], cursors=query.get("cursors", "")[:8000])
    books = BookQuery(author=author_id, sort=Sort.YEAR_DESC)
    async with reading(request.config_dict[ENGINE]) as conn:
        author = await authors.get(conn, author_id)
        try:
            found = await listing.find(conn, books, cursor=choice.cursor or None, limit=_PAGE)
        except Invalid:  # The cursor is not one of ours.
            raise NotFound from None
    return await page(
        request,
        "author.html",
        author=author,
        books=found.items,
        first=choice.pages_before * _PAGE + 1,
        next=_here(author_id, choice.next(found.next)) if found.next else None,
        previous=_here(author_id, choice.previous) if choice.previous else None,
    )


def _here(author_id: int, address: str) -> str:
    """The URL of a list page, below the author's path."""
    return address.replace("/books", f"/authors/{author_id}", 1)
