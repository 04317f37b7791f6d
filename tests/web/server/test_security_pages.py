"""What holds for every page and every address that changes something (S-22, S-23)."""

import re
from html.parser import HTMLParser

import pytest

from bookstore.database.engine import transaction
from bookstore.users.permissions import Role
from tests.factories import add_book
from tests.web.server.test_security_access import contents
from web.api.operations import operation_of
from web.api.routes import API, OPERATIONS
from web.server.keys import ENGINE
from web.server.security import CONTENT_SECURITY_POLICY, SAFE

#: Data for search engines, which browsers do not run.
DATA = {"application/ld+json"}


class Inline(HTMLParser):
    """Scripts, styles and handlers that stand in the page itself."""

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
    """Every address that takes these methods, with ids of something or of nothing."""
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
async def test_s22_every_page_forbids_what_is_inline_and_has_none(server, visitor, book_id, role):
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
DISGUISE = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}
FROM_ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", FROM_ELSEWHERE)
async def test_s23_another_site_changes_nothing_anywhere(server, visitor, book_id, headers):
    client = await visitor(Role.ADMIN)
    before = await contents(server)

    for method, path in addresses(server.app, UNSAFE, book_id):
        answer = await client.request(method, path, headers=headers, allow_redirects=False)
        assert answer.status == 403, (method, path)

    assert await contents(server) == before


async def test_s23_a_form_of_another_site_is_no_json(visitor):
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


async def test_s23_nothing_changes_by_a_safe_method_or_one_in_disguise(server, visitor, book_id):
    client = await visitor(Role.ADMIN)
    safe = {path for method, path in addresses(server.app, SAFE, book_id)}
    before = await contents(server)

    for _, path in addresses(server.app, UNSAFE, book_id):
        for method in ("GET", "HEAD"):
            answer = await client.request(method, path, headers=DISGUISE, allow_redirects=False)
            answer.close()
            if path not in safe:
                assert answer.status in (404, 405), path

    assert await contents(server) == before


async def test_s23_a_method_is_the_one_that_was_sent(server, visitor, book_id):
    client = await visitor(Role.ADMIN)
    posts = {path for _, path in addresses(server.app, {"POST"}, book_id)}
    before = await contents(server)

    for method, path in addresses(server.app, {"PUT", "PATCH", "DELETE"}, book_id):
        if path not in posts:
            headers = {**DISGUISE, "X-HTTP-Method-Override": method}
            answer = await client.post(f"{path}?_method={method}", headers=headers)
            assert answer.status == 405, path

    assert await contents(server) == before
