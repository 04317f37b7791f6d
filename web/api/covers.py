"""Covers: uploaded, or drawn for books that have no picture."""

import hashlib
import re
from functools import lru_cache

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, covers
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BrokenPicture, InvalidIsbn, NotAPicture, NotFound, Stale, TooLarge
from web.api.book_schemas import BookOut
from web.api.books import book_answer, book_id
from web.api.operations import operation
from web.api.preconditions import IF_MATCH, seen_version
from web.auth.sessions import me
from web.server.errors import IfMatchRequired
from web.server.keys import ENGINE
from web.server.request_context import now

_DRAWN = re.compile(r"([0-9]{13})\.svg")
_PICTURE = re.compile(r"[0-9a-f]{16}-[0-9]{2,4}x[0-9]{2,4}(-small)?\.jpg")
#: A cover changes when its book's title does; a day later everybody has seen it.
_CACHED = {"Cache-Control": "public, max-age=86400"}
#: A picture never changes: another one has another name.
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


@operation(
    returns=(200, None),
    content_type=["image/svg+xml", covers.MEDIA_TYPE],
    tags=["books"],
    kept=True,
)
async def show_cover(request: web.Request) -> web.Response:
    """Show the cover of a book; `cover_url` of the book says where.

    A picture that was uploaded comes as JPEG and is the same for ever; with `-small` before its
    ending it is a smaller one.  `{isbn13}.svg` is drawn.  Withdrawn books keep their cover.
    """
    name = request.match_info["name"]
    if _PICTURE.fullmatch(name):
        return await _show_picture(request, name)
    match = _DRAWN.fullmatch(name)
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


@operation(
    returns=(200, BookOut),
    upload=covers.UPLOADS,
    headers=IF_MATCH,
    tags=["staff"],
    refusals=[NotAPicture, BrokenPicture, TooLarge, Stale, IfMatchRequired],
)
async def upload_cover(request: web.Request) -> web.Response:
    """Give a book the cover that is the request's body.

    JPEG or PNG of at most 25 million pixels, or WebP of 12 million, each of at most 5 MB.  What it
    is decides its content; it is drawn anew in two sizes, and nothing else of the file is kept.
    """
    content = await _received(request)

    async def seen(conn: AsyncConnection) -> int:
        book = await books.get(conn, book_id(request))
        return seen_version(request, book.version)

    async with reading(request.config_dict[ENGINE]) as conn:
        await seen(conn)  # Before the picture is worked on, and again when it is kept.
    cover = await covers.cover_of(content)

    async def work() -> Book:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await covers.put(
                conn,
                book_id(request),
                await seen(conn),
                cover,
                user_id=me(request).id,
                now=now(),
            )

    return book_answer(request, await retry_transaction(work))


@operation(
    headers=IF_MATCH,
    returns=(200, BookOut),
    tags=["staff"],
    refusals=[Stale, IfMatchRequired],
)
async def remove_cover(request: web.Request) -> web.Response:
    """Take a book's cover away; it gets a typographic one."""

    async def work() -> Book:
        async with transaction(request.config_dict[ENGINE]) as conn:
            book = await books.get(conn, book_id(request))
            seen = seen_version(request, book.version)
            return await covers.remove(conn, book.id, seen, user_id=me(request).id, now=now())

    return book_answer(request, await retry_transaction(work))


async def _received(request: web.Request) -> bytes:
    """The body, as far as it may go.

    Raises:
        TooLarge: it goes further.
    """
    if (request.content_length or 0) > covers.MOST_BYTES:
        raise TooLarge(covers.MOST_BYTES)
    content = bytearray()
    async for piece in request.content.iter_any():
        content += piece
        if len(content) > covers.MOST_BYTES:
            raise TooLarge(covers.MOST_BYTES)
    return bytes(content)


async def _show_picture(request: web.Request, name: str) -> web.Response:
    async with reading(request.config_dict[ENGINE]) as conn:
        picture = await covers.content(conn, name)
    headers = {**_IMMUTABLE, "ETag": f'"{name}"'}
    return web.Response(body=picture, content_type=covers.MEDIA_TYPE, headers=headers)


def draw(book: Book) -> bytes:
    """The picture, as an SVG file."""
    author = book.authors[0].name if book.authors else ""
    category = book.categories[0].name if book.categories else None
    return _drawn(book.title, author, category, book.year)


@lru_cache(maxsize=1000)
def _drawn(title: str, author: str, category: str | None, year: int | None) -> bytes:
    return covers.draw(title, author, category, year).encode()
