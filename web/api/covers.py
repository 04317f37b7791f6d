"""Covers: drawn for books that have no picture."""

import hashlib
import re
from functools import lru_cache

from aiohttp import web

from bookstore import books, covers
from bookstore.db import reading
from bookstore.errors import InvalidIsbn, NotFound
from bookstore.records import Book
from web.api.operations import operation
from web.keys import ENGINE

_NAME = re.compile(r"([0-9]{13})\.svg")
#: A cover changes when its book's title does; a day later everybody has seen it.
_CACHED = {"Cache-Control": "public, max-age=86400"}


@operation(returns=(200, None), content_type="image/svg+xml", tags=["books"], kept=True)
async def show_cover(request: web.Request) -> web.Response:
    """Show the cover of a book, `{isbn13}.svg`; withdrawn books keep theirs."""
    match = _NAME.fullmatch(request.match_info["name"])
    if match is None:
        raise NotFound("This cover")
    async with reading(request.config_dict[ENGINE]) as conn:
        try:
            book = await books.by_isbn(conn, match[1], withdrawn=True)
        except InvalidIsbn:
            raise NotFound("This cover") from None
    picture = draw(book)
    etag = f'"{hashlib.sha256(picture).hexdigest()[:24]}"'
    return web.Response(
        body=picture, content_type="image/svg+xml", headers={**_CACHED, "ETag": etag}
    )


def draw(book: Book) -> bytes:
    """The picture, as an SVG file."""
    author = book.authors[0].name if book.authors else ""
    category = book.categories[0].name if book.categories else None
    return _drawn(book.title, author, category, book.year)


@lru_cache(maxsize=1000)
def _drawn(title: str, author: str, category: str | None, year: int | None) -> bytes:
    return covers.draw(title, author, category, year).encode()
