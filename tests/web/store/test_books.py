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


async def test_the_front_page_shows_what_is_new(browser, dune):
    await browser.go("/")

    assert browser.status == 200
    assert browser.title == "New this week"
    assert f"/books/{dune.id}" in browser.html
    assert "Science Fiction" in browser.page.links


async def test_an_empty_store_says_so(browser):
    await browser.go("/")

    assert (browser.status, browser.title) == (200, "The shelves are still empty")


async def test_a_shelf_has_its_books(browser, dune, stand):
    await stand(title="Emma", authors=["Jane Austen"])

    await browser.go("/books?category=science-fiction")

    assert browser.title == "Science Fiction"
    assert "Dune" in browser.page.links
    assert "Emma" not in browser.text
    assert "1 of" not in browser.text


async def test_the_filter_form_finds_and_its_empty_fields_leave_no_trace(browser, dune, stand):
    await stand(title="Dune Messiah", price_cents=2000)
    await browser.go("/books?q=dune")

    await browser.press("Show books", price_to="15,00", in_stock="true")

    assert browser.path == "/books?q=dune&price_to=15,00&in_stock=true"
    assert "Dune" in browser.page.links
    assert "Dune Messiah" not in browser.text


async def test_a_price_that_is_none_is_pointed_at(browser, dune):
    await browser.go("/books?price_to=cheap")

    assert browser.status == 200
    assert "Write it like 12.50" in browser.text


async def test_lists_go_forwards_and_back_again(browser, stand):
    for number in range(45):
        await stand(title=f"Volume {number:02}")
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
async def test_what_is_no_list_of_ours_is_missing(browser, dune, query):
    await browser.go(f"/books?{query}")

    assert browser.status == 404


async def test_an_isbn_leads_to_its_book(browser, dune):
    await browser.go(f"/books?q={dune.isbn13[:3]}-{dune.isbn13[3:]}")

    assert browser.path == f"/books/{dune.id}"


async def test_who_finds_nothing_is_shown_what_is_near(browser, stand):
    await stand(title="The Idiot", authors=["Fyodor Dostoyevsky"])

    await browser.go("/books?q=dostoyevski")

    assert browser.status == 200
    assert browser.title == "Nothing found for dostoyevski"
    assert "The Idiot" in browser.page.links


async def test_filters_that_hide_all_hits_can_be_taken_away(browser, dune):
    await browser.go("/books?q=dune&price_to=1")

    assert "Without the filters" in browser.text
    await browser.follow("Search on all shelves")
    assert "Dune" in browser.page.links


async def test_a_book_has_a_page(browser, dune, stand):
    await stand(title="Dune Messiah", authors=["Frank Herbert"])

    await browser.go(f"/books/{dune.id}")

    assert browser.title == "Dune"
    assert "€12.90" in browser.text
    assert "<p>A desert planet, <i>and</i> what it costs.</p>" in browser.html
    assert "Dune Messiah" in browser.page.links
    assert f'<link rel="canonical" href="http://127.0.0.1:8080/books/{dune.id}">' in browser.html


async def test_search_engines_read_the_offer(browser, dune):
    await browser.go(f"/books/{dune.id}")

    found = re.search(r'<script type="application/ld\+json">(.*?)</script>', browser.html)
    facts = json.loads(found[1])
    assert (facts["@type"], facts["isbn"]) == ("Book", dune.isbn13)
    assert (facts["offers"]["price"], facts["offers"]["priceCurrency"]) == ("12.90", "EUR")
    assert facts["offers"]["availability"].endswith("InStock")


async def test_a_book_names_its_people_its_other_editions_and_itself_to_other_sites(
    server, browser, stand
):
    people = [
        {"name": "Homer", "role": "author"},
        {"name": "Emily Wilson", "role": "translator"},
        {"name": "Ann", "role": "illustrator"},
    ]
    odyssey = await stand(title="The Odyssey", authors=people, format="paperback", language="en")
    greek = await stand(title="Odýsseia", authors=["Homer"], format="hardback", language="el")
    iliad = await stand(title="The Iliad", authors=["Homer"])
    async with transaction(server.app[ENGINE]) as conn:
        await editions.link(conn, odyssey.id, 1, [greek.id], user_id=None, now=NOON)

    await browser.go(f"/books/{odyssey.id}")

    made_by = "by Homer, translated by Emily Wilson, illustrated by Ann"
    assert made_by in browser.text.replace(" ,", ",")
    assert browser.page.links["Hardback, Greek"] == f"/books/{greek.id}"
    assert browser.page.links["The Iliad"] == f"/books/{iliad.id}"
    page = f"http://127.0.0.1:8080/books/{odyssey.id}"
    for name, said in {"og:type": "book", "og:title": "The Odyssey", "og:url": page}.items():
        assert f'<meta property="{name}" content="{said}">' in browser.html
    image = f"http://127.0.0.1:8080/api/v1/covers/{odyssey.isbn13}.svg"
    assert f'<meta property="og:image" content="{image}">' in browser.html


@pytest.mark.parametrize(
    ("language", "count", "said"),
    [("en", 1217, "1,217"), ("en", 1000, "1,000+"), ("de", 1000, "1.000+")],
)
def test_counts_that_stop_counting_say_so(language, count, said):
    with i18n.speaking(Language(language)):
        assert formatting.counted(Count(count, said.endswith("+"))) == said


async def test_a_sold_out_book_cannot_be_put_into_the_cart(browser, stand):
    book = await stand(stock=0)

    await browser.go(f"/books/{book.id}")

    assert "Sold out" in browser.text
    assert "disabled>Put in cart" in browser.html


async def test_hostile_titles_stay_text(browser, stand):
    book = await stand(
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
    await browser.press("Put in cart")
    assert "<script>alert" not in browser.html
    assert HOSTILE in browser.page.links


@pytest.mark.parametrize(
    "query", ["q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "price_to=%22%3E%3Cu%3E"]
)
async def test_what_was_asked_stays_text(browser, query):
    await browser.go(f"/books?{query}")

    assert "<script>alert" not in browser.html
    assert "<u>" not in browser.html


async def test_guests_share_a_page_and_know_it_by_its_tag(client, dune):
    first = await client.get("/")

    again = await client.get("/", headers={"If-None-Match": first.headers["ETag"]})

    assert again.status == 304
    assert "no-cache" in first.headers["Cache-Control"]
