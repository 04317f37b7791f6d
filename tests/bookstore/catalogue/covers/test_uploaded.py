import io
import struct
import subprocess
import sys
import zlib

import pytest
from PIL import Image
from sqlalchemy import func, select

from bookstore.catalogue.covers import uploaded
from bookstore.database.tables import book_covers, file_chunks, files
from bookstore.errors import BrokenPicture, NotAPicture, Stale
from tests.factories import NOON, create_book

#: Prints by how many kilobytes the peak of a process grows by drawing the cover of this file.
PEAK = """
import asyncio, pathlib, re, sys
from bookstore.catalogue.covers import uploaded

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])

content, before = pathlib.Path(sys.argv[1]).read_bytes(), kilobytes("VmRSS")
asyncio.run(uploaded.cover_of(content))
print(kilobytes("VmHWM") - before)
"""

RED, WHITE = (200, 20, 20), (255, 255, 255)


def saved(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png(width, height, rows=b""):
    """A PNG file of these sides, with whatever there is of its rows."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


def shown(content):
    return Image.open(io.BytesIO(content), formats=["JPEG"])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_a_picture_is_fitted_into_two_sizes(kind):
    cover = await uploaded.cover_of(saved(Image.new("RGB", (1000, 2000), RED), kind))

    assert (cover.width, cover.height) == (600, 1200)
    assert shown(cover.large).size == (600, 1200)
    assert shown(cover.small).size == (240, 480)
    assert all(
        abs(is_ - was) < 6
        for is_, was in zip(shown(cover.small).getpixel((9, 9)), RED, strict=True)
    )


async def test_a_small_picture_does_not_grow():
    cover = await uploaded.cover_of(saved(Image.new("RGB", (200, 300), RED)))

    assert shown(cover.large).size == shown(cover.small).size == (200, 300)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
async def test_every_kind_of_colours_is_understood(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"

    cover = await uploaded.cover_of(saved(Image.new(mode, (200, 300)), kind))

    assert shown(cover.large).mode == "RGB"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
async def test_a_large_picture_of_every_kind_of_colours_is_fitted(mode):
    cover = await uploaded.cover_of(saved(Image.new(mode, (3600, 5400))))

    assert (cover.width, cover.height) == (800, 1200)


@pytest.mark.parametrize(
    ("kind", "size", "most_mb"),
    [("JPEG", (4000, 6250), 60), ("PNG", (4000, 6250), 260), ("WEBP", (2800, 4200), 260)],
)
def test_s28_the_largest_picture_takes_a_bounded_part_of_the_memory(tmp_path, kind, size, most_mb):
    path = tmp_path / "cover"
    path.write_bytes(saved(Image.new("RGB" if kind == "JPEG" else "RGBA", size), kind))

    command = [sys.executable, "-c", PEAK, str(path)]
    took = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)

    assert 0 < int(took.stdout) / 1024 < most_mb


async def test_s28_a_webp_picture_may_have_fewer_pixels():
    with pytest.raises(BrokenPicture, match="12000000 are allowed"):
        await uploaded.cover_of(saved(Image.new("RGB", (3000, 4001)), "WEBP"))


async def test_what_is_transparent_becomes_white():
    cover = await uploaded.cover_of(saved(Image.new("RGBA", (200, 300), (0, 0, 0, 0))))

    assert shown(cover.large).getpixel((5, 5)) == WHITE


async def test_a_picture_is_turned_upright_and_says_nothing_of_its_camera():
    exif = Image.Exif()
    exif[0x0112] = 6  # It lies on its side.
    exif[0x010F] = "Camera of Mina Murray"

    cover = await uploaded.cover_of(saved(Image.new("RGB", (300, 200), RED), "JPEG", exif=exif))

    assert shown(cover.large).size == (200, 300)
    assert b"Mina" not in cover.large
    assert not shown(cover.large).getexif()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"GIF89a" + bytes(100),
        b"%PDF-1.7",
        b"\x89PNG\r\n\x1a\n",
        saved(Image.new("RGB", (200, 300)), "GIF"),
        saved(Image.new("RGB", (200, 300)), "TIFF"),
        saved(Image.new("RGB", (200, 300)), "BMP"),
    ],
    ids=["nothing", "text", "svg", "gif-head", "pdf", "png-head", "gif", "tiff", "bmp"],
)
async def test_s28_only_pictures_are_pictures(content):
    with pytest.raises((NotAPicture, BrokenPicture)):
        await uploaded.cover_of(content)


@pytest.mark.parametrize(
    ("width", "height"), [(60_000, 60_000), (5001, 5000), (49, 300), (300, 49), (100, 401), (1, 1)]
)
async def test_s28_odd_sizes_are_refused_before_anything_is_decoded(width, height):
    with pytest.raises(BrokenPicture):
        await uploaded.cover_of(png(width, height))


async def test_s28_a_picture_that_breaks_off_is_refused():
    whole = saved(Image.effect_noise((400, 600), 80).convert("RGB"), "JPEG")

    for length in range(len(whole) // 50, len(whole) - 2, len(whole) // 20):
        with pytest.raises((NotAPicture, BrokenPicture)):
            await uploaded.cover_of(whole[:length])


async def test_s28_a_text_that_unpacks_to_a_gigabyte_is_not_unpacked():
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()
    text = b"Comment\x00\x00" + bomb
    chunk = (
        struct.pack(">I", len(text))
        + b"zTXt"
        + text
        + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    )
    whole = saved(Image.new("RGB", (200, 300), RED))

    try:
        cover = await uploaded.cover_of(whole[:33] + chunk + whole[33:])
    except BrokenPicture:
        return
    assert b"Comment" not in cover.large


async def test_s28_of_a_polyglot_only_the_picture_is_kept():
    script = b"<script>alert(1)</script>"
    archive = b"PK\x03\x04" + script

    cover = await uploaded.cover_of(saved(Image.new("RGB", (200, 300), RED), "JPEG") + archive)

    for content in (cover.large, cover.small):
        assert script not in content
        assert b"PK\x03\x04" not in content


async def counts(conn):
    tables = (book_covers, files, file_chunks)
    return [await conn.scalar(select(func.count()).select_from(table)) for table in tables]


async def test_a_new_cover_takes_the_place_of_the_old_one(conn):
    cover = await uploaded.cover_of(saved(Image.new("RGB", (200, 300), RED)))
    book = await create_book(conn)

    first = await uploaded.put(conn, book.id, book.version, cover, user_id=None, now=NOON)
    second = await uploaded.put(conn, book.id, first.version, cover, user_id=None, now=NOON)

    assert first.cover != second.cover
    assert second.version == book.version + 2
    assert await counts(conn) == [2, 2, 2]
    assert await uploaded.content(conn, second.cover) == cover.large
    assert await uploaded.content(conn, uploaded.small_name(second.cover)) == cover.small


async def test_nobody_covers_what_they_have_not_seen(conn):
    cover = await uploaded.cover_of(saved(Image.new("RGB", (200, 300), RED)))
    book = await create_book(conn)

    with pytest.raises(Stale):
        await uploaded.put(conn, book.id, book.version + 1, cover, user_id=None, now=NOON)
    assert await counts(conn) == [0, 0, 0]


async def test_without_a_cover_nothing_is_left(conn):
    cover = await uploaded.cover_of(saved(Image.new("RGB", (200, 300), RED)))
    book = await create_book(conn)
    covered = await uploaded.put(conn, book.id, book.version, cover, user_id=None, now=NOON)

    bare = await uploaded.remove(conn, book.id, covered.version, user_id=None, now=NOON)

    assert (bare.cover, await counts(conn)) == (None, [0, 0, 0])
