import pytest

from bookstore.users.permissions import Role
from tests.web.api.sample_data import DUNE


@pytest.fixture
async def editor(visitor):
    return await visitor(Role.EDITOR)


@pytest.fixture
async def dune(editor):
    answer = await editor.post("/api/v1/books", json=DUNE)
    assert answer.status == 201, await answer.text()
    return await answer.json()


async def test_a_new_book_is_public(editor, client):
    made = await editor.post("/api/v1/books", json=DUNE)

    answer = await client.get(made.headers["Location"])

    assert answer.status == 200
    book = await answer.json()
    assert book == await made.json()
    assert set(book) == {
        "id", "isbn13", "title", "subtitle", "description", "authors", "categories", "publisher",
        "year", "language", "format", "pages", "price_cents", "on_sale_from", "currency", "stock",
        "available", "cover_url", "version", "created_at", "updated_at",
    }  # fmt: skip
    assert (book["isbn13"], book["language"], book["stock"]) == ("9780441172719", "en", 3)
    assert (book["price_cents"], book["currency"], book["available"]) == (1299, "EUR", True)
    assert [author["role"] for author in book["authors"]] == ["author", "translator"]
    assert "script" not in book["description"]
    assert answer.headers["ETag"] == '"1.3"'


@pytest.mark.parametrize("spelling", ["9780441172719", "978-0-441-17271-9", "0441172717"])
async def test_a_book_is_found_by_its_isbn(client, dune, spelling):
    answer = await client.get(f"/api/v1/books/isbn/{spelling}")

    assert (await answer.json())["id"] == dune["id"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"isbn13": "9780441172718"}, "#/isbn13"),
        ({"price_cents": -1}, "#/price_cents"),
        ({"price_cents": 12.5}, "#/price_cents"),
        ({"price_cents": 12.0}, "#/price_cents"),
        ({"price_cents": "12"}, "#/price_cents"),
        ({"price_cents": True}, "#/price_cents"),
        ({"price_cents": 10**30}, "#/price_cents"),
        ({"authors": []}, "#/authors"),
        ({"authors": [7]}, "#/authors"),
        ({"authors": [{"name": "A", "age": 7}]}, "#/authors"),
        ({"categories": ["nowhere"]}, "#/categories"),
        ({"title": ""}, "#/title"),
        ({"version": 7}, "#/version"),
    ],
)
async def test_an_invalid_book_is_refused(editor, change, pointer):
    answer = await editor.post("/api/v1/books", json={**DUNE, **change})

    assert answer.status == 422
    [fault] = (await answer.json())["errors"]
    assert fault["pointer"] == pointer


async def test_an_isbn_is_unique(editor, dune):
    answer = await editor.post("/api/v1/books", json=DUNE)

    assert answer.status == 409
    assert (await answer.json())["code"] == "isbn-taken"


async def test_a_change_requires_the_current_version(editor, dune):
    address = f"/api/v1/books/{dune['id']}"
    seen = (await editor.get(address)).headers["ETag"]

    async def change(title, **headers):
        return (await editor.patch(address, json={"title": title}, headers=headers)).status

    assert await change("Dune I") == 428
    assert await change("Dune I", **{"If-Match": seen}) == 200
    assert await change("Dune II", **{"If-Match": seen}) == 412
    assert await change("Dune II", **{"If-Match": '"2.0", "7.1"'}) == 200
    assert await change("Dune III", **{"If-Match": "*"}) == 200
    assert await change("Dune IV", **{"If-Match": "nonsense"}) == 412


async def test_a_sale_does_not_make_an_etag_stale(editor, dune):
    address = f"/api/v1/books/{dune['id']}"
    seen = (await editor.get(address)).headers["ETag"]
    moved = await editor.post(
        f"{address}/stock-movements", json={"delta": -1, "reason": "damaged", "note": "wet"}
    )
    assert moved.status == 201
    assert (await moved.json())["stock"] == 2

    answer = await editor.patch(address, json={"title": "Dune I"}, headers={"If-Match": seen})

    assert answer.status == 200
    assert answer.headers["ETag"] == '"2.2"'


async def test_only_managers_can_change_a_price(editor, visitor, dune):
    address, headers = f"/api/v1/books/{dune['id']}", {"If-Match": "*"}
    manager = await visitor(Role.MANAGER)

    refused = await editor.patch(address, json={"price_cents": 1}, headers=headers)
    changed = await manager.patch(address, json={"price_cents": 1}, headers=headers)

    assert (refused.status, (await refused.json())["code"]) == (403, "not-allowed")
    assert (await changed.json())["price_cents"] == 1


async def test_a_withdrawn_book_is_not_found(editor, client, dune):
    address = f"/api/v1/books/{dune['id']}"
    assert (await editor.delete(address)).status == 428

    assert (await editor.delete(address, headers={"If-Match": '"1.3"'})).status == 204

    assert (await client.get(address)).status == 404
    assert (await (await client.get("/api/v1/books")).json())["items"] == []
    assert (await client.get(dune["cover_url"])).status == 200


@pytest.mark.parametrize(
    ("delta", "reason", "status"),
    [(-4, "damaged", 409), (0, "count", 422), (1, "sold", 422), (2_000_000, "received", 422)],
)
async def test_an_invalid_stock_movement_is_refused(editor, dune, delta, reason, status):
    address = f"/api/v1/books/{dune['id']}/stock-movements"

    answer = await editor.post(address, json={"delta": delta, "reason": reason})

    assert answer.status == status
    ledger = await (await editor.get(address)).json()
    assert [movement["delta"] for movement in ledger["items"]] == [3]


async def test_a_list_is_paginated(editor, client):
    for number, isbn13 in enumerate(["9780441172719", "9780141439518", "9780199535569"]):
        await editor.post("/api/v1/books", json={**DUNE, "isbn13": isbn13, "title": f"T{number}"})

    first = await client.get("/api/v1/books?sort=title&limit=2")
    link = first.headers["Link"]
    second = await client.get(link[1 : link.index(">")])

    assert [book["title"] for book in (await first.json())["items"]] == ["T0", "T1"]
    assert link.endswith('>; rel="next"')
    page = await second.json()
    assert ([book["title"] for book in page["items"]], page["next"]) == (["T2"], None)
    assert "Link" not in second.headers


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=101", "limit=x", "limit=1_0", "cursor=nonsense", "sort=colour",
        "in_stock=maybe", "in_stock=1", "author=x", "min_price_cents=-1", "language=klingonisch",
        "colour=red", "author=99999999999999999999",
    ],
)  # fmt: skip
async def test_an_invalid_query_is_refused(client, query):
    answer = await client.get(f"/api/v1/books?{query}")

    assert answer.status == 422


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=dune", 1), ("q=herbert", 1), ("q=0-441-17271-7", 1), ("q=nothing", 0),
        ("q=%22%28%2B*", 0), ("in_stock=true", 1), ("in_stock=false", 0), ("language=en", 1),
        ("max_price_cents=1298", 0), ("min_price_cents=1299", 1), ("category=nowhere", 0),
        ("q=%00", 0), ("q=%ED%A0%80", 0), ("category=%ED%A0%80", 0),
    ],
)  # fmt: skip
async def test_a_query_finds_the_matching_books(client, dune, query, found):
    answer = await client.get(f"/api/v1/books?{query}")

    assert len((await answer.json())["items"]) == found


@pytest.mark.parametrize("name", ["9780441172719.png", "9780141439518.svg", "..%2Fx", "1.svg"])
async def test_only_existing_books_have_covers(client, dune, name):
    assert (await client.get(f"/api/v1/covers/{name}")).status == 404


async def test_a_cover_is_an_image(client, dune):
    answer = await client.get(dune["cover_url"])

    assert answer.content_type == "image/svg+xml"
    again = await client.get(dune["cover_url"], headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304


async def test_authors_are_found_by_name(client, dune):
    found = await (await client.get("/api/v1/authors?q=herb")).json()

    assert [(author["name"], author["book_count"]) for author in found["items"]] == [
        ("Frank Herbert", 1)
    ]
    author = await client.get(f"/api/v1/authors/{found['items'][0]['id']}")
    assert await author.json() == found["items"][0]


async def test_every_field_of_a_book_can_be_changed(editor, visitor, dune, client):
    await editor.post("/api/v1/categories", json={"name": "Space"})
    change = {
        "isbn13": "9780141439518",
        "title": "Dune Messiah",
        "subtitle": "The second book",
        "description": "More sand.",
        "authors": ["Frank Herbert", {"name": "Ana Kay", "role": "illustrator"}],
        "categories": ["space"],
        "publisher": "Ace",
        "year": 1969,
        "language": "de",
        "format": "hardback",
        "pages": 331,
        "price_cents": 999,
    }
    manager = await visitor(Role.MANAGER)

    answer = await manager.patch(
        f"/api/v1/books/{dune['id']}", json=change, headers={"If-Match": '"1.3"'}
    )

    assert answer.status == 200
    book = await answer.json()
    shown = {**change, "description": book["description"]}
    shown["authors"] = [
        {"id": book["authors"][0]["id"], "name": "Frank Herbert", "role": "author"},
        {"id": book["authors"][1]["id"], "name": "Ana Kay", "role": "illustrator"},
    ]
    shown["categories"] = [{"slug": "space", "name": "Space"}]
    assert {name: book[name] for name in shown} == shown
    assert "More sand." in book["description"]
    assert (book["version"], book["stock"]) == (2, 3)
    assert book["updated_at"] > dune["updated_at"]
    assert await (await client.get("/api/v1/books/isbn/9780141439518")).json() == book


@pytest.mark.parametrize("reason", ["received", "damaged", "count", "returned"])
async def test_stock_movements_accept_four_reasons(editor, dune, reason):
    address = f"/api/v1/books/{dune['id']}/stock-movements"
    delta = -1 if reason == "damaged" else 2

    answer = await editor.post(address, json={"delta": delta, "reason": reason, "note": "Till 7"})

    movement = await answer.json()
    assert (answer.status, movement["stock"]) == (201, 3 + delta)
    assert (movement["delta"], movement["reason"], movement["note"]) == (delta, reason, "Till 7")
    assert (await (await editor.get(f"/api/v1/books/{dune['id']}")).json())["stock"] == 3 + delta
