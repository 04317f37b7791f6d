"""Covers: uploaded images, and generated covers for books without one."""

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
from web.api.preconditions import IF_MATCH, check_if_match
from web.auth.sessions import current_user
from web.server.errors import IfMatchRequired
from web.server.keys import ENGINE
from web.server.request_context import now

_GENERATED_NAME = re.compile(r"([0-9]{13})\.svg")
_UPLOADED_NAME = re.compile(r"[0-9a-f]{16}-[0-9]{2,4}x[0-9]{2,4}(-small)?\.jpg")
#: A generated cover changes with the title of its book.  Caches show the new one after a day.
_CACHED = {"Cache-Control": "public, max-age=86400"}
#: An uploaded image never changes: a new upload gets a new name.
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


@operation(
    returns=(200, None),
    content_type=["image/svg+xml", covers.MEDIA_TYPE],
    tags=["books"],
    cached=True,
)
async def show_cover(request: web.Request) -> web.Response:
    """Show the cover of a book.

    `cover_url` of the book is the URL.  An uploaded cover is a JPEG image that never changes;
    `-small` before its extension selects a smaller version.  `{isbn13}.svg` is a generated cover.
    Withdrawn books keep their cover.
    """
    name = request.match_info["name"]
    if _UPLOADED_NAME.fullmatch(name):
        return await _show_uploaded(request, name)
    match = _GENERATED_NAME.fullmatch(name)
    if match is None:
        raise NotFound("This cover")
    async with reading(request.config_dict[ENGINE]) as conn:
        try:
            book = await books.by_isbn(conn, match[1], withdrawn=True)
        except InvalidIsbn:
            raise NotFound("This cover") from None
    image = generated_cover(book)
    etag = f'"{hashlib.sha256(image).hexdigest()[:24]}"'
    return web.Response(body=image, content_type="image/svg+xml", headers={**_CACHED, "ETag": etag})


@operation(
    returns=(200, BookOut),
    upload=covers.UPLOAD_MEDIA_TYPES,
    headers=IF_MATCH,
    tags=["staff"],
    refusals=[NotAPicture, BrokenPicture, TooLarge, Stale, IfMatchRequired],
)
async def upload_cover(request: web.Request) -> web.Response:
    """Upload a cover of a book, as the body of the request.

    Accepts JPEG and PNG of at most 25 million pixels and WebP of at most 12 million pixels, each
    of at most 5 MB.  The content of the file determines its type, not its name or media type.
    The image is encoded again in two sizes; metadata is discarded.
    """
    content = await _read_body(request)

    async def expected_version(conn: AsyncConnection) -> int:
        book = await books.get(conn, book_id(request))
        return check_if_match(request, book.version)

    async with reading(request.config_dict[ENGINE]) as conn:
        # Checked before the image is processed, and again when it is stored.
        await expected_version(conn)
    cover = await covers.make_cover(content)

    async def work() -> Book:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await covers.put(
                conn,
                book_id(request),
                await expected_version(conn),
                cover,
                user_id=current_user(request).id,
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
    """Remove the uploaded cover of a book.

    The book gets a generated cover.
    """

    async def work() -> Book:
        async with transaction(request.config_dict[ENGINE]) as conn:
            book = await books.get(conn, book_id(request))
            version = check_if_match(request, book.version)
            return await covers.remove(
                conn, book.id, version, user_id=current_user(request).id, now=now()
            )

    return book_answer(request, await retry_transaction(work))


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


async def _show_uploaded(request: web.Request, name: str) -> web.Response:
    async with reading(request.config_dict[ENGINE]) as conn:
        image = await covers.content(conn, name)
    headers = {**_IMMUTABLE, "ETag": f'"{name}"'}
    return web.Response(body=image, content_type=covers.MEDIA_TYPE, headers=headers)


def generated_cover(book: Book) -> bytes:
    """The generated cover of a book, as an SVG file."""
    author = book.authors[0].name if book.authors else ""
    category = book.categories[0].name if book.categories else None
    return _generate(book.title, author, category, book.year)


@lru_cache(maxsize=1000)
def _generate(title: str, author: str, category: str | None, year: int | None) -> bytes:
    return covers.draw(title, author, category, year).encode()
