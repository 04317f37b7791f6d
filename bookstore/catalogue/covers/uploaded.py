"""Covers that staff upload: looked at with suspicion, drawn anew in two sizes, kept as files.

Nothing of the upload itself is kept: neither its name nor a byte that is not a pixel.
"""

import asyncio
import io
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from PIL import Image, ImageOps, UnidentifiedImageError
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.catalogue import books
from bookstore.catalogue.models import Book
from bookstore.database import file_store
from bookstore.database.tables import book_covers
from bookstore.database.tables import books as book_rows
from bookstore.errors import BrokenPicture, NotAPicture, NotFound

MOST_BYTES = 5 * 1024 * 1024
MOST_PIXELS = 25_000_000
#: WebP is decoded whole, and several times over: 16 bytes for each pixel.
MOST_PIXELS_WEBP = 12_000_000
#: Less is no picture of a cover, and more than this many times higher than wide no cover.
LEAST_SIDE, STEEPEST = 50, 4
#: The boxes that covers are fitted into: for a shelf, and for the page of a book.
SMALL, LARGE = (320, 480), (800, 1200)
MEDIA_TYPE = "image/jpeg"
KIND = "cover"
#: What an upload may be said to be; what it is shows in its content.
UPLOADS = ("image/jpeg", "image/png", "image/webp")
_FORMATS = ("JPEG", "PNG", "WEBP")
_QUALITY = 82
_WHITE = (255, 255, 255)

# We count the pixels ourselves, before anything is decoded; Pillow would only warn.
Image.MAX_IMAGE_PIXELS = None

#: One at a time: the largest that are let in take about 230 MB (PNG, WebP) for a second.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")


@dataclass(frozen=True, slots=True)
class Cover:
    """A cover in two sizes, as JPEG; `width` and `height` are those of the larger one."""

    small: bytes
    large: bytes
    width: int
    height: int


async def cover_of(content: bytes) -> Cover:
    """The cover that a JPEG, PNG or WebP file shows.

    Raises:
        NotAPicture: it is none of these, whatever it is called.
        BrokenPicture: it cannot be read to its end, is too small, too large or too narrow.
    """
    return await asyncio.get_running_loop().run_in_executor(_thread, _drawn, content)


def small_name(name: str) -> str:
    """The name of the smaller size of a cover."""
    return f"{name.removesuffix('.jpg')}-small.jpg"


async def put(
    conn: AsyncConnection,
    book_id: int,
    version: int,
    cover: Cover,
    *,
    user_id: int | None,
    now: datetime,
) -> Book:
    """Give a book this cover, instead of the one that it has.

    Raises:
        NotFound: there is no such book, or it is withdrawn.
        Stale: the book is not at `version` any more.
    """
    before = await books.get(conn, book_id)
    await books.touch(conn, book_id, version, now=now)
    # The size is in the name, so that pages can leave room for it.
    name = f"{secrets.token_hex(8)}-{cover.width}x{cover.height}.jpg"
    await _forget(conn, book_id)
    for name_of_size, content in ((name, cover.large), (small_name(name), cover.small)):
        file = await file_store.add(
            conn, content, name=name_of_size, media_type=MEDIA_TYPE, kind=KIND, now=now
        )
        await conn.execute(
            insert(book_covers).values(name=name_of_size, book_id=book_id, file_id=file.id)
        )
    await _name(conn, before, name, user_id=user_id, now=now)
    return await books.get(conn, book_id)


async def remove(
    conn: AsyncConnection, book_id: int, version: int, *, user_id: int | None, now: datetime
) -> Book:
    """Take a book's cover away; it gets a typographic one again.

    Raises:
        NotFound: there is no such book, or it is withdrawn.
        Stale: the book is not at `version` any more.
    """
    before = await books.get(conn, book_id)
    await books.touch(conn, book_id, version, now=now)
    if before.cover is not None:
        await _forget(conn, book_id)
        await _name(conn, before, None, user_id=user_id, now=now)
    return await books.get(conn, book_id)


async def content(conn: AsyncConnection, name: str) -> bytes:
    """The picture of this name, as `MEDIA_TYPE`.

    Raises:
        NotFound: no book has it (any more).
    """
    file_id = await conn.scalar(select(book_covers.c.file_id).where(book_covers.c.name == name))
    if file_id is None:
        raise NotFound("This cover")
    return await file_store.content(conn, file_id)


async def _forget(conn: AsyncConnection, book_id: int) -> None:
    of_book = book_covers.c.book_id == book_id
    file_ids = list(await conn.scalars(select(book_covers.c.file_id).where(of_book)))
    await conn.execute(delete(book_covers).where(of_book))
    await file_store.remove(conn, file_ids)


async def _name(
    conn: AsyncConnection, before: Book, name: str | None, *, user_id: int | None, now: datetime
) -> None:
    await conn.execute(update(book_rows).where(book_rows.c.id == before.id).values(cover=name))
    told = {"cover": [before.cover, name]}
    await audit.record(conn, "change", "book", before.id, told, user_id=user_id, now=now)


def _drawn(content: bytes) -> Cover:
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            _refuse_odd(
                *picture.size, MOST_PIXELS_WEBP if picture.format == "WEBP" else MOST_PIXELS
            )
            # JPEG is decoded at a fraction of its size when no more is wanted.
            picture.draft("RGB", LARGE)
            large = _on_white(ImageOps.exif_transpose(_shrunk(picture, LARGE)))
    except BrokenPicture:
        raise
    except UnidentifiedImageError:
        raise NotAPicture from None
    except Exception:  # Decoders raise whatever they like at files that were made to break them.
        raise BrokenPicture("It cannot be read to its end.") from None
    small = _shrunk(large.copy(), SMALL)
    return Cover(_encoded(small), _encoded(large), *large.size)


def _refuse_odd(width: int, height: int, most_pixels: int) -> None:
    if width * height > most_pixels:
        raise BrokenPicture(f"It has {width * height} pixels; {most_pixels} are allowed.")
    if min(width, height) < LEAST_SIDE:
        raise BrokenPicture(f"It has to be at least {LEAST_SIDE} pixels wide and high.")
    if max(width, height) > STEEPEST * min(width, height):
        raise BrokenPicture("No cover is so narrow.")


def _shrunk(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The picture, no larger than the box; changed in place, for the pixels are many."""
    if picture.mode in ("P", "PA", "1"):
        # Their numbers are names of colours, which cannot be mixed.
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    # Pillow cannot reduce sixteen bits of grey, and takes hardly more memory without.
    gap = None if picture.mode.startswith("I;16") else 2.0
    picture.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=gap)
    return picture


def _on_white(picture: Image.Image) -> Image.Image:
    """The picture in plain colours, on white where it is transparent."""
    if picture.mode.startswith("I"):
        # Sixteen bits of grey, of which `convert` would keep the wrong eight.
        picture = picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    ground = Image.new("RGB", picture.size, _WHITE)
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def _encoded(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    # A fresh picture, because `save` writes on what the upload said about itself.
    bare = Image.new("RGB", picture.size)
    bare.paste(picture)
    bare.save(file, "JPEG", quality=_QUALITY, optimize=True, progressive=True)
    return file.getvalue()
