import json
import re

import pytest

from bookstore import i18n
from bookstore.catalogue import editions
from bookstore.catalogue.facets import Count
from bookstore.database.engine import transaction
from bookstore.i18n import Language
from tests.factories import NOON
from web.server.keys import ENGINE
from web.store import formatting

HOSTILE = "<script>alert('1')</script> & \"Sons\""


async def test_the_home_page_shows_new_books(browser, dune):
    await browser.go("/")

    assert browser.status == 200
    assert browser.title == "New this week"
    assert f"/books/{dune.id}" in browser.html
    assert "Science Fiction" in browser.page.links


async def test_an_empty_store_has_a_home_page(browser):
    await browser.go("/")

    assert (browser.status, browser.title) == (200, "No books yet")


async def test_a_category_lists_its_books(browser, dune, new_book):
    await new_book(title="Emma", authors=["Jane Austen"])

    await browser.go("/books?category=science-fiction")

    assert browser.title == "Science Fiction"
    assert "Dune" in browser.page.links
    assert "Emma" not in browser.text
    assert "1 of" not in browser.text


async def test_empty_filter_fields_are_not_part_of_the_url(browser, dune, new_book):
    await new_book(title="Dune Messiah", price_cents=2000)
    await browser.go("/books?q=dune")

    await browser.press("Show books", price_to="15,00", in_stock="true")

    assert browser.path == "/books?q=dune&price_to=15,00&in_stock=true"
    assert "Dune" in browser.page.links
    assert "Dune Messiah" not in browser.text


async def test_an_invalid_price_has_an_error_message(browser, dune):
    await browser.go("/books?price_to=cheap")

    assert browser.status == 200
    assert "Enter a price such as 12.50" in browser.text


async def test_lists_have_next_and_previous_pages(browser, new_book):
    for number in range(45):
        await new_book(title=f"Volume {number:02}")
    await browser.go("/books?sort=title")
    first = browser.path

    await browser.follow("Next")
    second = browser.path
    await browser.follow("Next")

    assert "Volume 44" in browser.text
    assert "Next" not in browser.page.links
    await browser.follow("Previous")
    assert browser.path == second
    assert "Volume 20" in browser.text
    await browser.follow("Previous")
    assert browser.path == first
    assert "Previous" not in browser.page.links


@pytest.mark.parametrize(
    "query",
    ["category=nowhere", "cursor=xyz", "language=klingonese", "author=999999999999999999"],
)
async def test_an_invalid_list_is_not_found(browser, dune, query):
    await browser.go(f"/books?{query}")

    assert browser.status == 404


async def test_an_isbn_leads_to_its_book(browser, dune):
    await browser.go(f"/books?q={dune.isbn13[:3]}-{dune.isbn13[3:]}")

    assert browser.path == f"/books/{dune.id}"


async def test_a_search_without_results_shows_similar_books(browser, new_book):
    await new_book(title="The Idiot", authors=["Fyodor Dostoyevsky"])

    await browser.go("/books?q=dostoyevski&exact=true")

    assert browser.status == 200
    assert browser.title == "No results for dostoyevski"
    assert "The Idiot" in browser.page.links


async def test_filters_that_hide_all_results_can_be_removed(browser, dune):
    await browser.go("/books?q=dune&price_to=1")

    assert "Results without filters" in browser.text
    await browser.follow("Search all categories")
    assert "Dune" in browser.page.links


async def test_a_book_has_a_page(browser, dune, new_book):
    await new_book(title="Dune Messiah", authors=["Frank Herbert"])

    await browser.go(f"/books/{dune.id}")

    assert browser.title == "Dune"
    assert "€12.90" in browser.text
    assert "<p>A desert planet, <i>and</i> what it costs.</p>" in browser.html
    assert "Dune Messiah" in browser.page.links
    assert f'<link rel="canonical" href="http://127.0.0.1:8080/books/{dune.id}">' in browser.html


async def test_the_page_has_structured_data_of_the_offer(browser, dune):
    await browser.go(f"/books/{dune.id}")

    found = re.search(r'<script type="application/ld\+json">(.*?)</script>', browser.html)
    facts = json.loads(found[1])
    assert (facts["@type"], facts["isbn"]) == ("Book", dune.isbn13)
    assert (facts["offers"]["price"], facts["offers"]["priceCurrency"]) == ("12.90", "EUR")
    assert facts["offers"]["availability"].endswith("InStock")


async def test_a_book_page_has_contributors_editions_and_open_graph_data(server, browser, new_book):
    people = [
        {"name": "Homer", "role": "author"},
        {"name": "Emily Wilson", "role": "translator"},
        {"name": "Ann", "role": "illustrator"},
    ]
    odyssey = await new_book(title="The Odyssey", authors=people, format="paperback", language="en")
    greek = await new_book(title="Odýsseia", authors=["Homer"], format="hardback", language="el")
    iliad = await new_book(title="The Iliad", authors=["Homer"])
    async with transaction(server.app[ENGINE]) as conn:
        await editions.link(conn, odyssey.id, 1, [greek.id], user_id=None, now=NOON)

    await browser.go(f"/books/{odyssey.id}")

    made_by = "by Homer, translated by Emily Wilson, illustrated by Ann"
    assert made_by in browser.text.replace(" ,", ",")
    assert browser.page.links["Hardback, Greek"] == f"/books/{greek.id}"
    assert browser.page.links["The Iliad"] == f"/books/{iliad.id}"
    page = f"http://127.0.0.1:8080/books/{odyssey.id}"
    for name, content in {"og:type": "book", "og:title": "The Odyssey", "og:url": page}.items():
        assert f'<meta property="{name}" content="{content}">' in browser.html
    image = f"http://127.0.0.1:8080/api/v1/covers/{odyssey.isbn13}.svg"
    assert f'<meta property="og:image" content="{image}">' in browser.html


@pytest.mark.parametrize(
    ("language", "count", "expected"),
    [("en", 1217, "1,217"), ("en", 1000, "1,000+"), ("de", 1000, "1.000+")],
)
def test_counts_with_a_limit_have_a_plus(language, count, expected):
    with i18n.using_language(Language(language)):
        assert formatting.counted(Count(count, expected.endswith("+"))) == expected


async def test_a_sold_out_book_cannot_be_added_to_the_cart(browser, new_book):
    book = await new_book(stock=0)

    await browser.go(f"/books/{book.id}")

    assert "Sold out" in browser.text
    assert "disabled>Add to cart" in browser.html


async def test_hostile_titles_are_escaped(browser, new_book):
    book = await new_book(
        title=HOSTILE,
        subtitle=HOSTILE,
        authors=[HOSTILE],
        publisher=HOSTILE,
        description=HOSTILE,
    )

    for path in ("/", "/books", f"/books/{book.id}", "/books?q=script"):
        await browser.go(path)
        assert browser.status == 200
        assert "<script>alert" not in browser.html
    await browser.go(
        "/books",
    )
    assert HOSTILE in browser.page.links
    await browser.go(f"/books/{book.id}")
    await browser.press("Add to cart")
    assert "<script>alert" not in browser.html
    assert HOSTILE in browser.page.links


@pytest.mark.parametrize(
    "query", ["q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "price_to=%22%3E%3Cu%3E"]
)
async def test_query_parameters_are_escaped(browser, query):
    await browser.go(f"/books?{query}")

    assert "<script>alert" not in browser.html
    assert "<u>" not in browser.html


async def test_cached_pages_have_an_etag(client, dune):
    first = await client.get("/")

    again = await client.get("/", headers={"If-None-Match": first.headers["ETag"]})

    assert again.status == 304
    assert "no-cache" in first.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("day", "shown"),
    [("2099", "2099"), ("2099-03", "March 2099"), ("2099-03-10", "10 March 2099")],
)
async def test_a_book_before_its_day_shows_the_day_and_cannot_be_added(
    browser, new_book, day, shown
):
    book = await new_book(title="Emma", authors=["Jane Austen"], on_sale_from=day)

    await browser.go(f"/books/{book.id}")

    assert f"On sale from {shown}" in browser.text
    assert "In stock" not in browser.text
    assert "This book is not on sale yet." in browser.text
    assert "schema.org/OutOfStock" in browser.html
