import io

import pytest
from PIL import Image

from bookstore.catalogue.covers import uploaded
from bookstore.users.permissions import Role
from tests.pictures import encoded, png
from tests.web.api.sample_data import DUNE

ANY = {"If-Match": "*"}
PICTURE = encoded(Image.new("RGB", (900, 1350), (20, 80, 60)))


@pytest.fixture
async def editor(visitor):
    return await visitor(Role.EDITOR)


@pytest.fixture
async def address(editor):
    book = await (await editor.post("/api/v1/books", json=DUNE)).json()
    return f"/api/v1/books/{book['id']}"


async def test_an_uploaded_cover_is_public_and_immutable(editor, address, client):
    typographic = (await (await editor.get(address)).json())["cover_url"]

    answer = await editor.put(f"{address}/cover", data=PICTURE, headers=ANY)

    assert answer.status == 200
    book = await answer.json()
    assert book["cover_url"] != typographic
    assert (book["version"], answer.headers["ETag"]) == (2, '"2.3"')
    assert await (await client.get(address)).json() == book
    shown = await client.get(book["cover_url"])
    assert shown.content_type == "image/jpeg"
    assert shown.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert shown.headers["X-Content-Type-Options"] == "nosniff"
    assert Image.open(io.BytesIO(await shown.read())).size == (800, 1200)
    again = await client.get(book["cover_url"], headers={"If-None-Match": shown.headers["ETag"]})
    assert again.status == 304
    small = await client.get(uploaded.small_name(book["cover_url"]))
    assert Image.open(io.BytesIO(await small.read())).size == (320, 480)


async def test_a_removed_cover_is_replaced_by_the_generated_one(editor, address):
    typographic = (await (await editor.get(address)).json())["cover_url"]
    covered = await (await editor.put(f"{address}/cover", data=PICTURE, headers=ANY)).json()

    bare = await editor.delete(f"{address}/cover", headers=ANY)

    assert (bare.status, (await bare.json())["cover_url"]) == (200, typographic)
    assert (await editor.get(covered["cover_url"])).status == 404


async def test_a_cover_upload_requires_the_current_version(editor, address):
    seen = (await editor.get(address)).headers["ETag"]

    async def upload(**headers):
        return (await editor.put(f"{address}/cover", data=PICTURE, headers=headers)).status

    assert await upload() == 428
    assert await upload(**{"If-Match": seen}) == 200
    assert await upload(**{"If-Match": seen}) == 412
    assert (await editor.delete(f"{address}/cover")).status == 428
    assert (await editor.delete(f"{address}/cover", headers={"If-Match": seen})).status == 412


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", 415, "not-a-picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", 415, "not-a-picture"),
        (b"", "image/png", 415, "not-a-picture"),
        (b'{"cover": 7}', "application/json", 415, "not-a-picture"),
        (encoded(Image.new("RGB", (200, 300)), "GIF"), "image/jpeg", 415, "not-a-picture"),
        (png(60_000, 60_000), "image/png", 422, "broken-picture"),
        (PICTURE[: len(PICTURE) // 2], "image/png", 422, "broken-picture"),
        (bytes(uploaded.MAX_BYTES + 1), "image/png", 413, "too-large"),
    ],
    ids=["svg", "svg-as-png", "nothing", "json", "gif", "bomb", "truncated", "large"],
)
async def test_s28_an_invalid_cover_is_refused(
    editor, address, content, content_type, status, code
):
    answer = await editor.put(
        f"{address}/cover",
        data=io.BytesIO(content),
        headers={**ANY, "Content-Type": content_type},
    )

    assert (answer.status, (await answer.json())["code"]) == (status, code)
    assert (await (await editor.get(address)).json())["version"] == 1


@pytest.mark.parametrize(
    "disposition",
    ['attachment; filename="../../x.png"', 'attachment; filename="x%00.png"', "x" * 4000],
)
async def test_s28_the_file_name_is_ignored(editor, address, disposition):
    answer = await editor.put(
        f"{address}/cover", data=PICTURE, headers={**ANY, "Content-Disposition": disposition}
    )

    book = await answer.json()
    assert (await editor.get(book["cover_url"])).content_type == uploaded.MEDIA_TYPE
    assert ".." not in book["cover_url"]
    assert len(book["cover_url"]) < 60


async def test_s28_an_endless_body_is_not_read_to_its_end(editor, address):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 64 * 1024
            yield bytes(64 * 1024)

    answer = await editor.put(f"{address}/cover", data=endless(), headers=ANY)

    assert answer.status == 413
    assert sent < 4 * uploaded.MAX_BYTES


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc%2fpasswd", "0123456789abcdef-10x10.jpg", "x.jpg", "0123456789ABCDEF-99x99.jpg"],
)
async def test_an_unknown_cover_is_not_found(client, name):
    assert (await client.get(f"/api/v1/covers/{name}")).status == 404


async def test_pages_show_the_uploaded_cover(editor, address, client):
    book = await (await editor.put(f"{address}/cover", data=PICTURE, headers=ANY)).json()
    small = uploaded.small_name(book["cover_url"])

    page = await (await client.get(f"/books/{book['id']}")).text()
    row = await (await editor.get("/admin/books")).text()

    for text in (page, row):
        assert f'<img src="{small}" srcset="{small} 1x, {book["cover_url"]} 2x"' in text
    assert 'width="800" height="1200"' in page
    assert f'{book["cover_url"]}">' in page  # The Open Graph image of the page.
