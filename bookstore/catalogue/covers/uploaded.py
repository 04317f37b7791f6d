"""Covers that staff upload: validated, re-encoded in two sizes and stored as files.

Only the pixels of an upload are used.  Its file name and metadata are discarded.
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

MAX_BYTES = 5 * 1024 * 1024
MAX_PIXELS = 25_000_000
#: Lower for WebP, because its decoder holds several copies of the full image: 16 bytes per pixel.
MAX_PIXELS_WEBP = 12_000_000
#: The minimum width and height in pixels, and the maximum ratio of the longer side to the shorter.
MIN_SIDE, MAX_ASPECT_RATIO = 50, 4
#: The maximum width and height of the two sizes: for lists, and for the page of a book.
SMALL, LARGE = (320, 480), (800, 1200)
MEDIA_TYPE = "image/jpeg"
KIND = "cover"
#: The accepted media types of an upload.  The actual format is detected from its content.
UPLOAD_MEDIA_TYPES = ("image/jpeg", "image/png", "image/webp")
_FORMATS = ("JPEG", "PNG", "WEBP")
_QUALITY = 82
_WHITE = (255, 255, 255)

# `_check_dimensions` limits the pixels before the image is decoded; Pillow's limit only warns.
Image.MAX_IMAGE_PIXELS = None

#: A single thread, because the largest accepted images need about 230 MB (PNG, WebP) for a second.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")


@dataclass(frozen=True, slots=True)
class Cover:
    """A cover as JPEG in two sizes.  `width` and `height`, in pixels, are those of `large`."""

    small: bytes
    large: bytes
    width: int
    height: int


async def make_cover(content: bytes) -> Cover:
    """The cover made from the content of a JPEG, PNG or WebP file.

    Raises:
        NotAPicture: the content has another format, whatever its declared media type.
        BrokenPicture: the image is damaged, too small, too large or too narrow.
    """
    return await asyncio.get_running_loop().run_in_executor(_thread, _render, content)


def small_name(name: str) -> str:
    """The file name of a cover's small size, given the name of the large one."""
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
    """Set the cover of a book and delete its previous cover.  Returns the changed book.

    Raises:
        NotFound: there is no such book, or it is withdrawn.
        Stale: the book is no longer at `version`.
    """
    before = await books.get(conn, book_id)
    await books.touch(conn, book_id, version, now=now)
    # Pages read the size from the name to reserve space for the image.
    name = f"{secrets.token_hex(8)}-{cover.width}x{cover.height}.jpg"
    await _delete_files(conn, book_id)
    for name_of_size, content in ((name, cover.large), (small_name(name), cover.small)):
        file = await file_store.add(
            conn, content, name=name_of_size, media_type=MEDIA_TYPE, kind=KIND, now=now
        )
        await conn.execute(
            insert(book_covers).values(name=name_of_size, book_id=book_id, file_id=file.id)
        )
    await _set_name(conn, before, name, user_id=user_id, now=now)
    return await books.get(conn, book_id)


async def remove(
    conn: AsyncConnection, book_id: int, version: int, *, user_id: int | None, now: datetime
) -> Book:
    """Delete a book's cover, so that a typographic one is shown.  Returns the changed book.

    Raises:
        NotFound: there is no such book, or it is withdrawn.
        Stale: the book is no longer at `version`.
    """
    before = await books.get(conn, book_id)
    await books.touch(conn, book_id, version, now=now)
    if before.cover is not None:
        await _delete_files(conn, book_id)
        await _set_name(conn, before, None, user_id=user_id, now=now)
    return await books.get(conn, book_id)


async def content(conn: AsyncConnection, name: str) -> bytes:
    """The content of the cover file with this name, in the format `MEDIA_TYPE`.

    Raises:
        NotFound: no book has this cover, or no longer.
    """
    file_id = await conn.scalar(select(book_covers.c.file_id).where(book_covers.c.name == name))
    if file_id is None:
        raise NotFound("This cover")
    return await file_store.content(conn, file_id)


async def _delete_files(conn: AsyncConnection, book_id: int) -> None:
    of_book = book_covers.c.book_id == book_id
    file_ids = list(await conn.scalars(select(book_covers.c.file_id).where(of_book)))
    await conn.execute(delete(book_covers).where(of_book))
    await file_store.remove(conn, file_ids)


async def _set_name(
    conn: AsyncConnection, before: Book, name: str | None, *, user_id: int | None, now: datetime
) -> None:
    await conn.execute(update(book_rows).where(book_rows.c.id == before.id).values(cover=name))
    changes = {"cover": [before.cover, name]}
    await audit.record(conn, "change", "book", before.id, changes, user_id=user_id, now=now)


def _render(content: bytes) -> Cover:
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            _check_dimensions(
                *picture.size, MAX_PIXELS_WEBP if picture.format == "WEBP" else MAX_PIXELS
            )
            # Lets the JPEG decoder downscale while decoding, which saves memory and time.
            picture.draft("RGB", LARGE)
            large = _flatten(ImageOps.exif_transpose(_shrink(picture, LARGE)))
    except BrokenPicture:
        raise
    except UnidentifiedImageError:
        raise NotAPicture from None
    except Exception:  # For malicious files, decoders raise exceptions of any type.
        raise BrokenPicture("The file is incomplete or damaged.") from None
    small = _shrink(large.copy(), SMALL)
    return Cover(_encode(small), _encode(large), *large.size)


def _check_dimensions(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise BrokenPicture(f"It has {width * height} pixels; {max_pixels} are allowed.")
    if min(width, height) < MIN_SIDE:
        raise BrokenPicture(f"It must be at least {MIN_SIDE} pixels wide and high.")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise BrokenPicture(
            f"It is too narrow: one side is more than {MAX_ASPECT_RATIO} times the other."
        )


def _shrink(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """The picture scaled down to fit the box; changed in place where possible, to save memory."""
    if picture.mode in ("P", "PA", "1"):
        # The pixels are palette indexes, which cannot be averaged.
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    # Pillow does not support `reducing_gap` for 16-bit greyscale, and needs little more memory
    # without it.
    gap = None if picture.mode.startswith("I;16") else 2.0
    picture.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=gap)
    return picture


def _flatten(picture: Image.Image) -> Image.Image:
    """The picture in RGB, with transparent areas on a white background."""
    if picture.mode.startswith("I"):
        # 16-bit greyscale: `convert("L")` alone would not keep the eight most significant bits.
        picture = picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    background = Image.new("RGB", picture.size, _WHITE)
    background.paste(picture, mask=picture.getchannel("A"))
    return background


def _encode(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    # Copy the pixels to a new image, because `save` would also write the metadata of the upload.
    copy = Image.new("RGB", picture.size)
    copy.paste(picture)
    copy.save(file, "JPEG", quality=_QUALITY, optimize=True, progressive=True)
    return file.getvalue()
