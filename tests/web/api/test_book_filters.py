"""Every parameter and every sort order of GET /books, over several pages."""

import pytest

from bookstore.users.permissions import Role

BOOKS = [
    # isbn13, title, author, year, language, price_cents, stock, category
    ("9780441172719", "Dune", "Frank Herbert", 1965, "en", 1299, 3, "space"),
    ("9780141439518", "Emma", "Jane Austen", 1815, "en-GB", 799, 0, "fiction"),
    ("9780199535569", "Der Prozess", "Franz Kafka", 1925, "de", 999, 5, "fiction"),
    ("9780140449136", "Crime and Dune", "Fyodor Dostoevsky", None, "en", 999, 1, "crime"),
]


@pytest.fixture
async def shop(visitor):
    """A guest's client of a store with four books."""
    editor = await visitor(Role.EDITOR)
    for name, parent in (("Fiction", None), ("Space", "fiction"), ("Crime", None)):
        await editor.post("/api/v1/categories", json={"name": name, "parent": parent})
    for isbn13, title, author, year, language, price_cents, stock, category in BOOKS:
        answer = await editor.post(
            "/api/v1/books",
            json={
                "isbn13": isbn13,
                "title": title,
                "authors": [author],
                "year": year,
                "language": language,
                "price_cents": price_cents,
                "stock": stock,
                "categories": [category],
            },
        )
        assert answer.status == 201
    return await visitor()


async def titles(shop, **query):
    answer = await shop.get("/api/v1/books", params=query)
    assert answer.status == 200, await answer.text()
    return [book["title"] for book in (await answer.json())["items"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "dune"}, {"Dune", "Crime and Dune"}),
        ({"q": "KAFKA prozess"}, {"Der Prozess"}),
        ({"q": "0-441-17271-7"}, {"Dune"}),
        ({"category": "fiction"}, {"Dune", "Emma", "Der Prozess"}),
        ({"category": "space"}, {"Dune"}),
        ({"language": "en"}, {"Dune", "Emma", "Crime and Dune"}),
        ({"language": "en-gb"}, {"Emma"}),
        ({"min_price_cents": "999"}, {"Dune", "Der Prozess", "Crime and Dune"}),
        ({"max_price_cents": "999"}, {"Emma", "Der Prozess", "Crime and Dune"}),
        ({"min_price_cents": "800", "max_price_cents": "1298"}, {"Der Prozess", "Crime and Dune"}),
        ({"in_stock": "true"}, {"Dune", "Der Prozess", "Crime and Dune"}),
        ({"in_stock": "false"}, {"Emma"}),
        ({"q": "dune", "category": "fiction", "in_stock": "true", "language": "en"}, {"Dune"}),
    ],
)
async def test_each_filter_finds_the_matching_books(shop, query, found):
    assert set(await titles(shop, **query)) == found


async def test_books_are_found_by_the_id_of_their_author(shop):
    [author] = (await (await shop.get("/api/v1/authors?q=austen")).json())["items"]

    assert await titles(shop, author=str(author["id"])) == ["Emma"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("title", ["Crime and Dune", "Der Prozess", "Dune", "Emma"]),
        ("-title", ["Emma", "Dune", "Der Prozess", "Crime and Dune"]),
        ("price", ["Emma", "Der Prozess", "Crime and Dune", "Dune"]),
        ("-price", ["Dune", "Crime and Dune", "Der Prozess", "Emma"]),
        ("-created_at", ["Crime and Dune", "Der Prozess", "Emma", "Dune"]),
        ("-year", ["Dune", "Der Prozess", "Emma", "Crime and Dune"]),
        ("relevance", ["Crime and Dune", "Der Prozess", "Emma", "Dune"]),
    ],
)
async def test_each_sort_order_continues_on_the_next_page(shop, sort, order):
    assert await titles(shop, sort=sort) == order
    for limit in (1, 3):
        address, seen = f"/api/v1/books?sort={sort}&limit={limit}", []
        while address:
            answer = await shop.get(address)
            page = await answer.json()
            assert len(page["items"]) <= limit
            seen += [book["title"] for book in page["items"]]
            link = answer.headers.get("Link")
            assert (link is None) is (page["next"] is None)
            address = link and link[1 : link.index(">")]
        assert seen == order


async def test_the_next_page_starts_after_the_last_book_despite_changes(shop, visitor):
    first = await (await shop.get("/api/v1/books?sort=title&limit=2")).json()
    editor = await visitor(Role.EDITOR)
    new = {"isbn13": "9780141439846", "title": "Aaa", "authors": ["A"], "price_cents": 1}
    await editor.post("/api/v1/books", json=new)

    second = await titles(shop, sort="title", cursor=first["next"])

    assert second == ["Dune", "Emma"]


async def test_a_cursor_is_valid_for_one_sort_order(shop):
    page = await (await shop.get("/api/v1/books?sort=title&limit=1")).json()

    answer = await shop.get("/api/v1/books", params={"sort": "price", "cursor": page["next"]})

    assert answer.status == 422
    assert (await answer.json())["errors"][0]["parameter"] == "cursor"


async def test_a_search_that_finds_nothing_is_repeated_with_its_spelling_corrected(shop):
    path = "/api/v1/books?q=dunne&limit=1"

    first = await (await shop.get(path)).json()
    second = await (await shop.get(f"{path}&cursor={first['next']}")).json()

    assert {book["title"] for book in first["items"] + second["items"]} == {
        "Dune",
        "Crime and Dune",
    }
    assert (first["corrected_query"], second["corrected_query"]) == ("dune", "dune")


async def test_a_corrected_search_keeps_its_filters(shop):
    found = await (await shop.get("/api/v1/books?q=dunne&category=crime")).json()

    assert [book["title"] for book in found["items"]] == ["Crime and Dune"]


@pytest.mark.parametrize("query", ["q=dune", "q=qqqqqqqqq", "q=dune&category=no-such"])
async def test_other_searches_are_not_corrected(shop, query):
    found = await (await shop.get(f"/api/v1/books?{query}")).json()

    assert "corrected_query" not in found
