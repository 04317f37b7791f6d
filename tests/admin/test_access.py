"""Access to the pages of the dashboard: the tests read the route table, so no page is missed."""

import re

import pytest

from bookstore.users.permissions import GRANTS, Permission, Role, is_staff
from tests.admin.conftest import Document, read
from tests.admin.route_paths import PAGES, example_path
from web.server.route_access import AccessLevel


@pytest.mark.parametrize("role", [None, *Role])
async def test_every_page_is_open_to_exactly_the_allowed_roles(visitor, role):
    client = await visitor(role)
    wrong = []

    for method, path, access in PAGES:
        answer = await client.request(method, example_path(path), allow_redirects=False)
        if access is AccessLevel.ANYONE:
            expected = {200, 404}
        elif role is None:
            expected = {303}
            assert answer.headers["Location"].startswith("/sign-in?next=")
        elif not is_staff(role):
            expected = {404}
        elif access not in GRANTS[role]:
            expected = {403}
        else:
            expected = {200, 303, 404, 422}
        if answer.status not in expected:
            wrong.append((method, path, answer.status))

    assert wrong == []


async def test_sign_in_leads_back_to_the_requested_page(client):
    answer = await client.get("/admin/orders?status=placed", allow_redirects=False)

    assert answer.headers["Location"] == "/sign-in?next=%2Fadmin%2Forders%3Fstatus%3Dplaced"


@pytest.mark.parametrize("role", [role for role in Role if is_staff(role)])
async def test_the_home_page_links_only_to_pages_that_the_role_may_open(visitor, role):
    client = await visitor(role)

    home = await read(client, "/admin")

    linked = {link for link in home.links if re.fullmatch(r"/admin(/[a-z]+)?", link)}
    allowed = {
        example_path(path)
        for method, path, access in PAGES
        if method == "GET" and isinstance(access, Permission) and access in GRANTS[role]
    }
    assert "/admin" in linked
    assert linked <= allowed


async def test_an_unknown_path_shows_a_page_with_navigation(visitor):
    client = await visitor(Role.CLERK)

    page = await read(client, "/admin/nonsense")

    assert page.status == 404
    assert "/admin/orders" in page.links


@pytest.mark.parametrize(
    "path",
    [
        "",
        "?days=7",
        "?days=30",
        "?days=31",
        "/orders",
        "/orders?status=confirmed",
        "/orders?q=x",
        "/orders?status=unpaid&payment=paid&since=2026-03-21&until=2026-03-22&notes=yes&size=100",
        "/orders?sort=-total&since=soon&size=7",
        "/orders?user=1&sort=number",
        "/books",
        "/books?view=low",
        "/books?view=sold-out",
        "/books?view=withdrawn",
        "/books?q=x&category=none",
        "/books?stock=yes&price_from=5&price_to=10,50&sort=-price",
        "/books?price_from=cheap&sort=isbn",
        "/authors",
        "/authors?q=x&sort=-new",
        "/books/new",
        "/categories",
        "/users?q=unknown",
        "/users?role=admin&out=yes&sort=-email",
        "/notifications",
        "/notifications?status=failed",
        "/notifications?status=in-doubt",
        "/notifications?status=queued",
        "/notifications?q=mira&kind=welcome&since=2026-03-21&sort=-tries",
        "/queues",
        "/queues?state=waiting",
        "/audit",
        "/audit?object=book&id=7&user=3&action=change&since=2026-03-21",
        "/search",
    ],
)
async def test_the_pages_of_an_empty_store_have_valid_markup(visitor, path):
    client = await visitor(Role.ADMIN)

    page = await read(client, f"/admin{path}")

    assert page.status == 200
    assert_valid_markup(page)


@pytest.mark.parametrize(
    "path",
    [
        "/orders?cursor=x",
        "/books?cursor=x",
        "/books?view=low&cursor=x",
        "/authors?cursor=x",
        "/users?cursor=x",
        "/notifications?cursor=x",
        "/queues?cursor=x",
        "/audit?cursor=x",
    ],
)
async def test_an_invalid_cursor_is_refused(visitor, path):
    client = await visitor(Role.ADMIN)

    page = await read(client, f"/admin{path}")

    assert page.status == 422
    assert "does not belong to this list" in page.text


async def test_the_versioned_style_sheet_is_cached_forever(client, visitor):
    staff = await visitor(Role.CLERK)
    home = await read(staff, "/admin")
    address = next(
        attributes["href"]
        for name, attributes in home.elements
        if "admin.css" in (attributes.get("href") or "")
    )

    answer = await client.get(address)

    assert answer.status == 200
    assert answer.content_type == "text/css"
    assert "immutable" in answer.headers["Cache-Control"]


def assert_valid_markup(page: Document) -> None:
    """One h1, a label for each field, a caption for each table, no inline styles or scripts."""
    names = [name for name, _ in page.elements]
    assert names.count("h1") == 1
    assert names.count("table") == names.count("caption")
    labelled = {attributes.get("for") for name, attributes in page.elements if name == "label"}
    for name, attributes in page.elements:
        assert "style" not in attributes
        assert not any(attribute.startswith("on") for attribute in attributes)
        if name in ("input", "select", "textarea") and attributes.get("type") != "hidden":
            is_checkbox = attributes.get("type") == "checkbox"
            assert (
                is_checkbox or attributes.get("aria-label") or attributes.get("id") in labelled
            ), attributes
    scripts = [attributes for name, attributes in page.elements if name == "script"]
    assert all((attributes.get("src") or "").startswith("/admin/static/") for attributes in scripts)
