"""Covers: uploaded images, and generated covers for books without one."""

import hashlib
import re
from functools import lru_cache

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, covers
from bookstore.catalogue.models import Book
from bookstore.errors import BrokenPicture, InvalidIsbn, NotAPicture, NotFound, TooLarge
from web.api.book_schemas import BookOut
from web.api.books import book_answer, expected_version
from web.api.operations import Answer, operation
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import read, write

_GENERATED_NAME = re.compile(r"([0-9]{13})\.svg")
_UPLOADED_NAME = re.compile(r"[0-9a-f]{16}-[0-9]{2,4}x[0-9]{2,4}(-small)?\.jpg")
#: A generated cover changes with the title of its book.  Caches show the new one after a day.
_CACHED = {"Cache-Control": "public, max-age=86400"}
#: An uploaded image never changes: a new upload gets a new name.
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


@operation(returns=(200, None), content_type=["image/svg+xml", covers.MEDIA_TYPE], cached=True)
async def show_cover(request: web.Request, name: str) -> web.Response:
    """Show the cover of a book.

    `cover_url` of the book is the URL.  An uploaded cover is a JPEG image that never changes;
    `-small` before its extension selects a smaller version.  `{isbn13}.svg` is a generated cover.
    Withdrawn books keep their cover.
    """
    if _UPLOADED_NAME.fullmatch(name):
        image = await read(request, covers.content, name)
        headers = {**_IMMUTABLE, "ETag": f'"{name}"'}
        return web.Response(body=image, content_type=covers.MEDIA_TYPE, headers=headers)
    match = _GENERATED_NAME.fullmatch(name)
    if match is None:
        raise NotFound("This cover")
    try:
        book = await read(request, books.by_isbn, match[1], withdrawn=True)
    except InvalidIsbn:
        raise NotFound("This cover") from None
    image = generated_cover(book)
    etag = f'"{hashlib.sha256(image).hexdigest()[:24]}"'
    headers = {**_CACHED, "ETag": etag}
    return web.Response(body=image, content_type="image/svg+xml", headers=headers)


@operation(
    returns=(200, BookOut),
    upload=covers.UPLOAD_MEDIA_TYPES,
    versioned=True,
    refusals=[NotAPicture, BrokenPicture, TooLarge],
)
async def upload_cover(request: web.Request, book_id: int) -> Answer:
    """Upload a cover of a book, as the body of the request.

    Accepts JPEG and PNG of at most 25 million pixels and WebP of at most 12 million pixels, each
    of at most 5 MB.  The content of the file determines its type, not its name or media type.
    The image is encoded again in two sizes; metadata is discarded.
    """
    by, content = current_user(request).id, await _read_body(request)
    # Checked before the image is processed, and again when it is stored.
    await read(request, expected_version, request, book_id)
    cover = await covers.make_cover(content)

    async def put(conn: AsyncConnection) -> Book:
        version = await expected_version(conn, request, book_id)
        return await covers.put(conn, book_id, version, cover, user_id=by, now=now())

    return book_answer(request, await write(request, put))


@operation(versioned=True, returns=(200, BookOut))
async def remove_cover(request: web.Request, book_id: int) -> Answer:
    """Remove the uploaded cover of a book.

    The book gets a generated cover.
    """
    by = current_user(request).id

    async def remove(conn: AsyncConnection) -> Book:
        version = await expected_version(conn, request, book_id)
        return await covers.remove(conn, book_id, version, user_id=by, now=now())

    return book_answer(request, await write(request, remove))


async def _read_body(request: web.Request) -> bytes:
    """The body of the request.

    Raises:
        TooLarge: it is larger than `covers.MAX_BYTES`.
    """
    if (request.content_length or 0) > covers.MAX_BYTES:
        raise TooLarge(covers.MAX_BYTES)
    content = bytearray()
    async for chunk in request.content.iter_any():
        content += chunk
        if len(content) > covers.MAX_BYTES:
            raise TooLarge(covers.MAX_BYTES)
    return bytes(content)


def generated_cover(book: Book) -> bytes:
    """The generated cover of a book, as an SVG file."""
    author = book.authors[0].name if book.authors else ""
    category = book.categories[0].name if book.categories else None
    return _generate(book.title, author, category, book.year)


@lru_cache(maxsize=1000)
def _generate(title: str, author: str, category: str | None, year: int | None) -> bytes:
    return covers.draw(title, author, category, year).encode()
