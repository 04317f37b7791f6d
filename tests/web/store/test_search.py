"""Search: spelling suggestions, filters, authors."""

import re

from bookstore.database.engine import transaction
from tests.factories import add_order
from web.server.keys import ENGINE


async def test_results_of_a_corrected_search_say_so(browser, new_book):
    await new_book(title="The Idiot", authors=["Fyodor Dostoyevsky"])

    await browser.go("/books?q=dostoyevski+idoit")

    assert browser.title == "Results for dostoyevsky idiot"
    assert "Corrected from dostoyevski idoit" in " ".join(browser.text.split())
    assert "No results" not in browser.text
    assert "The Idiot" in browser.page.links
    await browser.follow("dostoyevski idoit")
    assert browser.path == "/books?q=dostoyevski idoit&exact=true"
    assert browser.title == "No results for dostoyevski idoit"
    assert "Corrected from" not in browser.text


async def test_a_corrected_search_keeps_its_filters(browser, dune, new_book):
    await new_book(title="Dune Messiah", price_cents=100)

    await browser.go("/books?q=dunne&price_to=2")

    assert browser.title == "Results for dune"
    assert "Dune Messiah" in browser.page.links
    assert "Dune" not in browser.page.links
    await browser.go("/books?q=dunne&price_to=0.50")
    assert browser.title == "No results for dunne"
    assert "Results without filters" in browser.text


async def test_suggestions_are_a_page_too(browser, dune, science_fiction):
    await browser.go("/suggestions?q=dun")
    assert browser.page.links["Dune"] == f"/books/{dune.id}"
    await browser.go("/suggestions?q=herb")
    assert f'href="/authors/{dune.authors[0].id}"' in browser.html
    await browser.go("/suggestions?q=fic")
    assert browser.page.links["Science Fiction"] == "/books?category=science-fiction"
    await browser.go("/suggestions?q=herbret")
    assert browser.page.links["herbert"] == "/books?q=herbert"
    await browser.go("/suggestions?q=%00%3Cb%3E")
    assert (browser.status, "No suggestions" in browser.text) == (200, True)
    await browser.go("/suggestions")
    assert browser.status == 200


async def test_an_author_has_a_page(browser, dune, new_book):
    await new_book(title="Dune Messiah", year=1969)
    await new_book(title="Emma", authors=["Jane Austen"])

    await browser.go(f"/books/{dune.id}")
    await browser.follow("Frank Herbert")

    assert browser.path == f"/authors/{dune.authors[0].id}"
    assert browser.title == "Frank Herbert"
    assert "2 books" in browser.text
    assert "Emma" not in browser.text
    await browser.go(f"/authors/{dune.authors[0].id}?cursor=nonsense")
    assert browser.status == 404
    await browser.go("/authors/999")
    assert browser.status == 404


async def test_filters_show_the_number_of_books(browser, dune, new_book):
    await new_book(title="Dune Messiah", language="de", format="hardback", stock=0)
    await new_book(title="Dune, the paperback", language="de", format="paperback")
    await new_book(title="Emma", language="de", authors=["Jane Austen"])

    await browser.go("/books?q=dune")

    assert "3 books" in browser.text
    assert "German 2" in browser.text
    assert "In stock 2" in browser.text
    await browser.press("Show books", language="de")
    assert "Dune Messiah" in browser.page.links
    assert "English 1" in browser.text
    await browser.press("Show books", language="", format="hardback")
    assert browser.path == "/books?q=dune&format=hardback"
    assert "Dune" not in browser.page.links


async def test_the_home_page_shows_bestsellers(browser, server, new_book):
    books = [await new_book(title=f"Volume {number}") for number in range(5)]
    async with transaction(server.app[ENGINE]) as conn:
        for number, book in enumerate(books[:4]):
            await add_order(conn, {book.id: number + 1}, status="confirmed")
        await add_order(conn, {books[4].id: 9}, status="rejected")

    await browser.go("/")

    best = browser.text.split("Bestsellers")[1].split("Shipping and payment")[0]
    assert [f"Volume {it}" for it in "3210"] == re.findall(r"Volume \d", best)
