import re
from dataclasses import replace
from importlib.resources import files

import pytest
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from tests.web.store.pages import Browser
from web.app import make_app
from web.server.problems import Problem
from web.store.errors import show_problem

TEMPLATES = files("web.store") / "templates"


async def test_files_are_cached_forever_by_their_hash(client):
    page = await (await client.get("/sign-in")).text()
    (address,) = re.findall(r'href="(/static/site.css\?v=\w+)"', page)

    sheet = await client.get(address)

    assert "immutable" in sheet.headers["Cache-Control"]
    assert sheet.headers["Content-Type"].startswith("text/css")
    fonts = re.findall(r'url\("([^"]+)"\)', await sheet.text())
    assert fonts
    for font in fonts:
        answer = await client.get(f"/static/{font}")
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
    old = await client.get("/static/site.css?v=0")
    assert old.headers["Cache-Control"] == "public, no-cache"


@pytest.mark.parametrize(
    "path",
    ["../page.py", "%2e%2e/page.py", "fonts", "fonts/", "nothing.css", "templates/base.html"],
)
async def test_no_other_file_is_served(client, path):
    assert (await client.get(f"/static/{path}")).status == 404


async def test_a_missing_page_has_the_error_page_of_the_store(browser):
    await browser.go("/nowhere")

    assert browser.status == 404
    assert browser.title == "Page not found"
    assert "quote" in browser.text


async def test_the_api_answers_with_a_problem_document(client):
    answer = await client.get("/api/v1/nowhere")

    assert answer.content_type == "application/problem+json"


async def test_robots_txt_excludes_personal_pages(client):
    text = await (await client.get("/robots.txt")).text()

    assert "Disallow: /orders\n" in text


@pytest.mark.parametrize("name", [file.name for file in TEMPLATES.iterdir() if file.is_file()])
def test_no_page_has_inline_style_or_script(name):
    html = (TEMPLATES / name).read_text()

    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|javascript:", html)
    assert not re.search(r"<script(?! type=\"(module\" src=|application/ld\+json\"))", html)
    assert "|safe" not in html


async def test_a_failure_has_an_error_page(server):
    request = make_mocked_request("GET", "/cart", app=server.app)

    page = await show_problem(request, Problem(500, "internal-error", "Something went wrong."))

    assert page.status == 500
    assert "Something went wrong" in page.text
    assert "Your cart and orders are safe" in page.text


@pytest.mark.parametrize("path", ["/", "/books/1", "/cart", "/orders/X"])
async def test_without_a_database_pages_answer_503(settings, path):
    away = replace(settings, database_url="mysql+aiomysql://bookstore@127.0.0.1:1/bookstore")
    async with TestClient(TestServer(await make_app(away))) as client:
        client.session.headers["Cookie"] = "sid=somebody"
        browser = Browser(client)

        await browser.go(path)

    assert browser.status == 503
    assert browser.title == "We will be back in a minute"
