"""Content security policy of pages, and cross-site protection of all unsafe routes (S-22, S-23)."""

import re
from html.parser import HTMLParser

import pytest

from bookstore.database.engine import transaction
from bookstore.users.permissions import Role
from tests.factories import add_book
from tests.web.server.database_contents import contents
from web.api.operations import operation_of
from web.api.routes import API, OPERATIONS
from web.server.keys import ENGINE
from web.server.security import CONTENT_SECURITY_POLICY, SAFE_METHODS

#: Data for search engines that browsers do not execute.
DATA = {"application/ld+json"}


class Inline(HTMLParser):
    """Collects inline scripts, styles and event handlers of a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag == "script" and "src" not in named and named.get("type") not in DATA:
            self.found.append(tag)
        if tag == "style":
            self.found.append(tag)
        self.found += [name for name in named if name == "style" or name.startswith("on")]
        self.found += [
            value for value in named.values() if value and value.lower().startswith("javascript:")
        ]


def addresses(app, methods, book_id):
    """Method and path of every route with these methods; only `book_id` exists."""
    for route in app.router.routes():
        info = route.resource.get_info()
        path = info.get("path") or info["formatter"]
        if route.method in methods and not path.startswith("/api/v1/session"):
            path = path.replace("{book_id}", str(book_id))
            yield route.method, re.sub(r"\{[^}]*\}", "999999", path)


@pytest.fixture
async def book_id(server):
    async with transaction(server.app[ENGINE]) as conn:
        return await add_book(conn, stock=3)


@pytest.mark.parametrize("role", [None, Role.ADMIN])
async def test_s22_every_page_forbids_inline_code_and_has_none(server, visitor, book_id, role):
    client = await visitor(role)
    pages = 0

    for _, path in addresses(server.app, {"GET"}, book_id):
        if path.endswith("/stream") or "sign-out" in path:
            continue
        answer = await client.get(path, allow_redirects=False)
        assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert "Server" not in answer.headers, path
        if answer.content_type == "text/html":
            page = Inline()
            page.feed(await answer.text())
            assert page.found == [], path
            pages += 1

    assert pages > 10


UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
OVERRIDE_HEADERS = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}
CROSS_SITE_HEADERS = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", CROSS_SITE_HEADERS)
async def test_s23_cross_site_requests_change_nothing(server, visitor, book_id, headers):
    client = await visitor(Role.ADMIN)
    before = await contents(server)

    for method, path in addresses(server.app, UNSAFE, book_id):
        answer = await client.request(method, path, headers=headers, allow_redirects=False)
        assert answer.status == 403, (method, path)

    assert await contents(server) == before


async def test_s23_a_plain_text_body_is_not_accepted_as_json(visitor):
    client = await visitor(Role.ADMIN)
    takes_json = [route for route in OPERATIONS if operation_of(route.handler).body is not None]

    for method, path, _, _ in takes_json:
        answer = await client.request(
            method,
            API + re.sub(r"\{.*?\}(?=/|$)", "999999", path),
            data='{"role": "admin"}',
            headers={"Content-Type": "text/plain"},
        )
        assert answer.status == 415, (method, path)

    assert len(takes_json) > 20


async def test_s23_safe_methods_and_method_overrides_change_nothing(server, visitor, book_id):
    client = await visitor(Role.ADMIN)
    safe = {path for method, path in addresses(server.app, SAFE_METHODS, book_id)}
    before = await contents(server)

    for _, path in addresses(server.app, UNSAFE, book_id):
        for method in ("GET", "HEAD"):
            answer = await client.request(
                method, path, headers=OVERRIDE_HEADERS, allow_redirects=False
            )
            answer.close()
            if path not in safe:
                assert answer.status in (404, 405), path

    assert await contents(server) == before


async def test_s23_method_overrides_are_ignored(server, visitor, book_id):
    client = await visitor(Role.ADMIN)
    posts = {path for _, path in addresses(server.app, {"POST"}, book_id)}
    before = await contents(server)

    for method, path in addresses(server.app, {"PUT", "PATCH", "DELETE"}, book_id):
        if path not in posts:
            headers = {**OVERRIDE_HEADERS, "X-HTTP-Method-Override": method}
            answer = await client.post(f"{path}?_method={method}", headers=headers)
            assert answer.status == 405, path

    assert await contents(server) == before
