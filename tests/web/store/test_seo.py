"""robots.txt, sitemaps, the Atom feed and OpenSearch."""

from xml.etree import ElementTree

import pytest

SITEMAPS = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
ATOM = "{http://www.w3.org/2005/Atom}"


async def xml(client, path, content_type="application/xml"):
    answer = await client.get(path)
    assert (answer.status, answer.content_type) == (200, content_type)
    return ElementTree.fromstring(await answer.text())


async def test_sitemaps_list_all_public_pages(client, dune):
    index = await xml(client, "/sitemap.xml")

    pages = []
    for place in index.iter(f"{SITEMAPS}loc"):
        path = place.text.removeprefix("http://127.0.0.1:8080")
        pages += [it.text for it in (await xml(client, path)).iter(f"{SITEMAPS}loc")]

    assert f"http://127.0.0.1:8080/books/{dune.id}" in pages
    assert "http://127.0.0.1:8080/books?category=science-fiction" in pages
    assert "http://127.0.0.1:8080/imprint" in pages
    assert not any("/cart" in page or "/account" in page for page in pages)
    for page in pages:
        answer = await client.get(page.removeprefix("http://127.0.0.1:8080"))
        assert answer.status == 200
        assert "noindex" not in await answer.text()
    assert (await client.get("/sitemaps/2.xml")).status == 404


async def test_the_feed_lists_new_books(client, new_book):
    await new_book(title="Salt & <Fog>", authors=["Ana Sá"])

    feed = await xml(client, "/feed.atom", "application/atom+xml")

    (entry,) = feed.iter(f"{ATOM}entry")
    assert entry.find(f"{ATOM}title").text == "Salt & <Fog>"
    assert entry.find(f"{ATOM}author/{ATOM}name").text == "Ana Sá"


async def test_a_browser_can_search_here_by_itself(client):
    found = await xml(client, "/opensearch.xml", "application/opensearchdescription+xml")

    (url,) = [it for it in found if it.tag.endswith("Url")]
    assert url.attrib["template"] == "http://127.0.0.1:8080/books?q={searchTerms}"


@pytest.mark.parametrize("name", ["imprint", "terms", "privacy", "withdrawal"])
async def test_the_stores_own_texts_are_linked_from_every_page(browser, name):
    await browser.go("/sign-in")
    (link,) = [href for href in browser.page.links.values() if href == f"/{name}"]

    await browser.go(link)

    assert browser.status == 200
    assert browser.title.lower().endswith(name)
