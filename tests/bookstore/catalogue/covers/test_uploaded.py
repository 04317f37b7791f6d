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
from tests.pictures import encoded, png

#: Prints by how many kilobytes the peak memory of a process grows when it makes a cover of a file.
PEAK = """
import asyncio, pathlib, re, sys
from bookstore.catalogue.covers import uploaded

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])

content, before = pathlib.Path(sys.argv[1]).read_bytes(), kilobytes("VmRSS")
asyncio.run(uploaded.make_cover(content))
print(kilobytes("VmHWM") - before)
"""

RED, WHITE = (200, 20, 20), (255, 255, 255)


def decoded(content):
    return Image.open(io.BytesIO(content), formats=["JPEG"])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_a_picture_is_scaled_to_two_sizes(kind):
    cover = await uploaded.make_cover(encoded(Image.new("RGB", (1000, 2000), RED), kind))

    assert (cover.width, cover.height) == (600, 1200)
    assert decoded(cover.large).size == (600, 1200)
    assert decoded(cover.small).size == (240, 480)
    assert all(
        abs(is_ - was) < 6
        for is_, was in zip(decoded(cover.small).getpixel((9, 9)), RED, strict=True)
    )


async def test_a_small_picture_is_not_enlarged():
    cover = await uploaded.make_cover(encoded(Image.new("RGB", (200, 300), RED)))

    assert decoded(cover.large).size == decoded(cover.small).size == (200, 300)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
async def test_every_colour_mode_is_supported(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"

    cover = await uploaded.make_cover(encoded(Image.new(mode, (200, 300)), kind))

    assert decoded(cover.large).mode == "RGB"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
async def test_a_large_picture_in_every_colour_mode_is_scaled(mode):
    cover = await uploaded.make_cover(encoded(Image.new(mode, (3600, 5400))))

    assert (cover.width, cover.height) == (800, 1200)


@pytest.mark.parametrize(
    ("kind", "size", "max_mb"),
    [("JPEG", (4000, 6250), 60), ("PNG", (4000, 6250), 260), ("WEBP", (2800, 4200), 260)],
)
def test_s28_the_largest_picture_uses_limited_memory(tmp_path, kind, size, max_mb):
    path = tmp_path / "cover"
    path.write_bytes(encoded(Image.new("RGB" if kind == "JPEG" else "RGBA", size), kind))

    command = [sys.executable, "-c", PEAK, str(path)]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)

    assert 0 < int(result.stdout) / 1024 < max_mb


async def test_s28_a_webp_picture_has_a_lower_pixel_limit():
    with pytest.raises(BrokenPicture, match="12000000 are allowed"):
        await uploaded.make_cover(encoded(Image.new("RGB", (3000, 4001)), "WEBP"))


async def test_transparent_areas_become_white():
    cover = await uploaded.make_cover(encoded(Image.new("RGBA", (200, 300), (0, 0, 0, 0))))

    assert decoded(cover.large).getpixel((5, 5)) == WHITE


async def test_a_picture_is_rotated_upright_and_its_metadata_removed():
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: rotated by 90 degrees.
    exif[0x010F] = "Camera of Mina Murray"

    cover = await uploaded.make_cover(encoded(Image.new("RGB", (300, 200), RED), "JPEG", exif=exif))

    assert decoded(cover.large).size == (200, 300)
    assert b"Mina" not in cover.large
    assert not decoded(cover.large).getexif()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"GIF89a" + bytes(100),
        b"%PDF-1.7",
        b"\x89PNG\r\n\x1a\n",
        encoded(Image.new("RGB", (200, 300)), "GIF"),
        encoded(Image.new("RGB", (200, 300)), "TIFF"),
        encoded(Image.new("RGB", (200, 300)), "BMP"),
    ],
    ids=["nothing", "text", "svg", "gif-head", "pdf", "png-head", "gif", "tiff", "bmp"],
)
async def test_s28_other_file_formats_are_rejected(content):
    with pytest.raises((NotAPicture, BrokenPicture)):
        await uploaded.make_cover(content)


@pytest.mark.parametrize(
    ("width", "height"), [(60_000, 60_000), (5001, 5000), (49, 300), (300, 49), (100, 401), (1, 1)]
)
async def test_s28_invalid_dimensions_are_rejected_before_decoding(width, height):
    with pytest.raises(BrokenPicture):
        await uploaded.make_cover(png(width, height))


async def test_s28_a_truncated_picture_is_rejected():
    whole = encoded(Image.effect_noise((400, 600), 80).convert("RGB"), "JPEG")

    for length in range(len(whole) // 50, len(whole) - 2, len(whole) // 20):
        with pytest.raises((NotAPicture, BrokenPicture)):
            await uploaded.make_cover(whole[:length])


async def test_s28_a_decompression_bomb_in_metadata_is_harmless():
    compressor = zlib.compressobj(9)
    bomb = b"".join(compressor.compress(bytes(2**20)) for _ in range(200)) + compressor.flush()
    text = b"Comment\x00\x00" + bomb
    chunk = (
        struct.pack(">I", len(text))
        + b"zTXt"
        + text
        + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    )
    whole = encoded(Image.new("RGB", (200, 300), RED))

    try:
        cover = await uploaded.make_cover(whole[:33] + chunk + whole[33:])
    except BrokenPicture:
        return
    assert b"Comment" not in cover.large


async def test_s28_only_the_pixels_of_a_polyglot_file_are_stored():
    script = b"<script>alert(1)</script>"
    archive = b"PK\x03\x04" + script

    cover = await uploaded.make_cover(encoded(Image.new("RGB", (200, 300), RED), "JPEG") + archive)

    for content in (cover.large, cover.small):
        assert script not in content
        assert b"PK\x03\x04" not in content


async def counts(conn):
    tables = (book_covers, files, file_chunks)
    return [await conn.scalar(select(func.count()).select_from(table)) for table in tables]


async def test_a_new_cover_replaces_the_old_one(conn):
    cover = await uploaded.make_cover(encoded(Image.new("RGB", (200, 300), RED)))
    book = await create_book(conn)

    first = await uploaded.put(conn, book.id, book.version, cover, user_id=None, now=NOON)
    second = await uploaded.put(conn, book.id, first.version, cover, user_id=None, now=NOON)

    assert first.cover != second.cover
    assert second.version == book.version + 2
    assert await counts(conn) == [2, 2, 2]
    assert await uploaded.content(conn, second.cover) == cover.large
    assert await uploaded.content(conn, uploaded.small_name(second.cover)) == cover.small


async def test_setting_a_cover_for_an_old_version_raises_stale(conn):
    cover = await uploaded.make_cover(encoded(Image.new("RGB", (200, 300), RED)))
    book = await create_book(conn)

    with pytest.raises(Stale):
        await uploaded.put(conn, book.id, book.version + 1, cover, user_id=None, now=NOON)
    assert await counts(conn) == [0, 0, 0]


async def test_removing_a_cover_deletes_its_files(conn):
    cover = await uploaded.make_cover(encoded(Image.new("RGB", (200, 300), RED)))
    book = await create_book(conn)
    with_cover = await uploaded.put(conn, book.id, book.version, cover, user_id=None, now=NOON)

    without_cover = await uploaded.remove(conn, book.id, with_cover.version, user_id=None, now=NOON)

    assert (without_cover.cover, await counts(conn)) == (None, [0, 0, 0])
