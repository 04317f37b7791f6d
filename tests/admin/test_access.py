"""Who may come in: the router itself is asked, so that no page is forgotten."""

import re

import pytest

from admin import routes
from bookstore.users.permissions import GRANTS, Permission, Role, is_staff
from tests.admin.conftest import Document, read
from web.server.route_access import Open

PAGES = [(method, path, access) for method, path, _, access in routes.PAGES]


def example(path):
    """An address that leads to nothing: whoever is let in finds nothing."""
    path = path.replace("{name:[a-z.-]+}", "none.css")
    return "/admin" + re.sub(r"\{[^{}]*(\{[^{}]*\})?[^{}]*\}", "999999", path)


@pytest.mark.parametrize("role", [None, *Role])
async def test_every_page_answers_whom_it_should(visitor, role):
    client = await visitor(role)
    wrong = []

    for method, path, access in PAGES:
        answer = await client.request(method, example(path), allow_redirects=False)
        if access is Open.ANYONE:
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


async def test_a_guest_comes_back_after_signing_in(client):
    answer = await client.get("/admin/orders?status=placed", allow_redirects=False)

    assert answer.headers["Location"] == "/sign-in?next=%2Fadmin%2Forders%3Fstatus%3Dplaced"


@pytest.mark.parametrize("role", [role for role in Role if is_staff(role)])
async def test_only_what_a_role_may_see_is_offered(visitor, role):
    client = await visitor(role)

    home = await read(client, "/admin")

    offered = {link for link in home.links if re.fullmatch(r"/admin(/[a-z]+)?", link)}
    allowed = {
        example(path)
        for method, path, access in PAGES
        if method == "GET" and isinstance(access, Permission) and access in GRANTS[role]
    }
    assert "/admin" in offered
    assert offered <= allowed


async def test_an_address_that_is_none_is_a_page_of_the_dashboard(visitor):
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
        "/users?q=nobody",
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
async def test_an_empty_store_has_pages_that_say_what_to_do(visitor, path):
    client = await visitor(Role.ADMIN)

    page = await read(client, f"/admin{path}")

    assert page.status == 200
    assert_well_made(page)


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
async def test_a_cursor_that_is_none_is_refused_on_a_page(visitor, path):
    client = await visitor(Role.ADMIN)

    page = await read(client, f"/admin{path}")

    assert page.status == 422
    assert "does not belong to this list" in page.text


async def test_the_style_sheet_is_kept_for_ever_under_its_version(client, visitor):
    staff = await visitor(Role.CLERK)
    home = await read(staff, "/admin")
    address = next(
        facts["href"] for name, facts in home.elements if "admin.css" in (facts.get("href") or "")
    )

    answer = await client.get(address)

    assert answer.status == 200
    assert answer.content_type == "text/css"
    assert "immutable" in answer.headers["Cache-Control"]


def assert_well_made(page: Document) -> None:
    """One h1; every field has a label, every table a caption; nothing inline."""
    names = [name for name, _ in page.elements]
    assert names.count("h1") == 1
    assert names.count("table") == names.count("caption")
    labelled = {facts.get("for") for name, facts in page.elements if name == "label"}
    for name, facts in page.elements:
        assert "style" not in facts
        assert not any(fact.startswith("on") for fact in facts)
        if name in ("input", "select", "textarea") and facts.get("type") != "hidden":
            ticked = facts.get("type") == "checkbox"
            assert ticked or facts.get("aria-label") or facts.get("id") in labelled, facts
    scripts = [facts for name, facts in page.elements if name == "script"]
    assert all((facts.get("src") or "").startswith("/admin/static/") for facts in scripts)
