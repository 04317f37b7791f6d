import pytest

from bookstore.users.permissions import Role
from tests.web.api.sample_data import DUNE

CATEGORIES = "/api/v1/categories"
ANY = {"If-Match": "*"}


@pytest.fixture
async def editor(visitor):
    return await visitor(Role.EDITOR)


async def test_categories_are_a_tree(editor, client):
    made = await editor.post("/api/v1/categories", json={"name": "Fiction"})
    assert made.headers["Location"] == "/api/v1/categories/fiction"
    await editor.post("/api/v1/categories", json={"name": "Space", "parent": "fiction"})
    await editor.post("/api/v1/books", json={**DUNE, "categories": ["space"]})

    tree = await (await client.get("/api/v1/categories")).json()

    assert [(item["slug"], item["parent"], item["book_count"]) for item in tree["items"]] == [
        ("fiction", None, 1),
        ("space", "fiction", 1),
    ]
    found = await (await client.get("/api/v1/books?category=fiction")).json()
    assert [category["slug"] for category in found["items"][0]["categories"]] == ["space"]


async def test_categories_are_changed_and_removed(editor):
    await editor.post("/api/v1/categories", json={"name": "Fiction"})
    duplicate = await editor.post("/api/v1/categories", json={"name": "Fiction"})

    changed = await editor.patch(f"{CATEGORIES}/fiction", json={"name": "Novels"}, headers=ANY)
    removed = await editor.delete(f"{CATEGORIES}/fiction", headers=ANY)

    assert (duplicate.status, (await duplicate.json())["code"]) == (409, "slug-taken")
    assert (await changed.json())["name"] == "Novels"
    assert removed.status == 204
    assert (await editor.get("/api/v1/categories/fiction")).status == 404


async def test_a_category_change_requires_the_current_version(editor):
    made = await editor.post(CATEGORIES, json={"name": "Fiction"})
    seen = made.headers["ETag"]

    async def change(name, **headers):
        return await editor.patch(f"{CATEGORIES}/fiction", json={"name": name}, headers=headers)

    assert (await change("A")).status == 428
    changed = await change("A", **{"If-Match": seen})
    assert changed.status == 200
    assert (await changed.json())["version"] == 2
    stale = await change("B", **{"If-Match": seen})
    assert (stale.status, (await stale.json())["code"]) == (412, "stale")
    assert (await editor.delete(f"{CATEGORIES}/fiction")).status == 428
    stale = await editor.delete(f"{CATEGORIES}/fiction", headers={"If-Match": seen})
    assert stale.status == 412
    again = await editor.get(f"{CATEGORIES}/fiction")
    assert again.headers["ETag"] == changed.headers["ETag"]


async def test_a_new_book_does_not_make_the_etag_of_a_category_stale(editor):
    seen = (await editor.post(CATEGORIES, json={"name": "Fiction"})).headers["ETag"]
    await editor.post("/api/v1/books", json={**DUNE, "categories": ["fiction"]})

    shown = await editor.get(f"{CATEGORIES}/fiction")
    changed = await editor.patch(
        f"{CATEGORIES}/fiction", json={"position": 3}, headers={"If-Match": seen}
    )

    assert shown.headers["ETag"] != seen
    assert (changed.status, (await changed.json())["position"]) == (200, 3)


async def test_a_category_cannot_be_moved_below_itself(editor):
    await editor.post(CATEGORIES, json={"name": "Fiction"})
    await editor.post(CATEGORIES, json={"name": "Space", "parent": "fiction"})
    await editor.post(CATEGORIES, json={"name": "Mars", "parent": "space"})

    async def move(slug, parent):
        return await editor.patch(f"{CATEGORIES}/{slug}", json={"parent": parent}, headers=ANY)

    for slug, parent in (("fiction", "mars"), ("fiction", "fiction"), ("mars", "nowhere")):
        refused = await move(slug, parent)
        assert refused.status == 422
        assert (await refused.json())["errors"][0]["pointer"] == "#/parent"
    assert (await (await move("mars", None)).json())["parent"] is None
    tree = await (await editor.get(CATEGORIES)).json()
    assert [(item["slug"], item["parent"]) for item in tree["items"]] == [
        ("fiction", None),
        ("space", "fiction"),
        ("mars", None),
    ]


async def test_a_category_that_is_not_empty_cannot_be_deleted(editor):
    await editor.post(CATEGORIES, json={"name": "Fiction"})
    await editor.post(CATEGORIES, json={"name": "Space", "parent": "fiction"})
    await editor.post("/api/v1/books", json={**DUNE, "categories": ["space"]})

    for slug in ("fiction", "space"):
        refused = await editor.delete(f"{CATEGORIES}/{slug}", headers=ANY)
        assert (refused.status, (await refused.json())["code"]) == (409, "category-in-use")
