"""Conventions of all lists, pages and resources."""

import io
import re

import pytest

from bookstore.users.permissions import Role
from tests.web.api.sample_data import DUNE, HOME
from tests.web.conftest import PASSWORD
from web.api import routes
from web.api.operations import operation_of
from web.api.schemas import PageQuery

#: These conventions do not depend on the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

LISTS = sorted(
    route.path
    for route in routes.OPERATIONS
    if issubclass(operation_of(route.handler).query, PageQuery)
)
PART = re.compile(r"\{(\w+)(?::[^}]*\})?\}")
ISBNS = ("9780441172719", "9780141439518")
SINGLE = [
    "/books/{book_id}", "/books/isbn/{isbn}", "/categories/{slug}", "/authors/{author_id}",
    "/orders/{number}", "/imports/{job_id}", "/exports/{export_id}", "/users/{user_id}",
    "/users/me", "/users/me/preferences", "/session", "/cart", "/covers/{isbn}.svg",
]  # fmt: skip
PUBLIC_PAGES = ["/", "/books", "/cart", "/sign-in", "/register"]
STAFF_PAGES = [
    "/admin", "/admin/books", "/admin/categories", "/admin/orders", "/admin/users",
    "/admin/notifications", "/admin/queues", "/admin/imports", "/admin/audit",
]  # fmt: skip


@pytest.fixture
async def admin(visitor):
    return await visitor(Role.ADMIN)


@pytest.fixture
async def filled(admin, visitor):
    """A store with two items for each list.  The value has the parameters of the paths."""
    user_id = (await (await admin.get("/api/v1/users/me")).json())["id"]
    await visitor(Role.CUSTOMER)
    await sign_in_on_another_device(admin, await visitor())
    horror = {"name": "Horror"}
    slug = (await (await admin.post("/api/v1/categories", json=horror)).json())["slug"]
    for number, isbn13 in enumerate(ISBNS):
        book = {**DUNE, "isbn13": isbn13, "stock": 9}
        book_id = (await (await admin.post("/api/v1/books", json=book)).json())["id"]
        for delta in (1, -1):
            movement = {"delta": delta, "reason": "count"}
            await admin.post(f"/api/v1/books/{book_id}/stock-movements", json=movement)
        message = {"user_id": user_id, "subject": "Hello", "body": "Your book is here."}
        await admin.post("/api/v1/notifications", json=message)
        await admin.post("/api/v1/cart/items", json={"book_id": book_id, "quantity": 1})
        placed = await admin.post(
            "/api/v1/orders",
            json={"shipping_address": HOME},
            headers={"Idempotency-Key": f"k{number}"},
        )
        assert placed.status == 202
        await admin.post("/api/v1/users/me/addresses", json=HOME)
        await admin.post("/api/v1/users/me/tokens", json={"name": "a till"})
        made = await admin.post("/api/v1/exports", json={"list": "books"})
        rows = b"isbn,title,authors,price,stock\n0441172717,Dune,Frank Herbert,12.90,3\n"
        sent = await admin.post("/api/v1/imports", data={"file": io.BytesIO(rows)})
        job_id = (await sent.json())["id"]
    number = (await placed.json())["number"]
    book = await (await admin.get(f"/api/v1/books/{book_id}")).json()
    return {
        "author_id": book["authors"][0]["id"],
        "book_id": book_id,
        "export_id": (await made.json())["id"],
        "isbn": book["isbn13"],
        "job_id": job_id,
        "number": number,
        "slug": slug,
        "user_id": user_id,
    }


async def sign_in_on_another_device(user, device):
    email = (await (await user.get("/api/v1/users/me")).json())["email"]
    ids = {"email": email, "password": PASSWORD}
    assert (await device.post("/api/v1/session", json=ids)).status == 200


def at(path, ids):
    """The URL of a path with these parameters."""
    return routes.API + PART.sub(lambda match: str(ids[match[1]]), path)


async def test_every_list_has_limits_and_working_page_links(admin, filled):
    assert len(LISTS) >= 15
    for path in [at(path, filled) for path in LISTS]:
        for wrong in ("limit=0", "limit=101", "cursor=nonsense", "colour=red"):
            refused = await admin.get(f"{path}?{wrong}")
            assert (refused.status, (await refused.json())["code"]) == (422, "invalid"), path
        most = await admin.get(f"{path}?limit=100")
        page = await most.json()
        everything = page["items"]
        assert (most.status, page["next"], "Link" in most.headers) == (200, None, False), path
        if path.endswith("/lines"):
            continue  # The import was not processed.

        first = await admin.get(f"{path}?limit=1")
        page = await first.json()
        link = first.headers["Link"]
        assert link.endswith('>; rel="next"'), path
        second = await admin.get(link[1 : link.index(">")])
        assert f"cursor={page['next']}" in link
        assert page["items"] + (await second.json())["items"] == everything[:2], path
        assert len(everything) > 1, path


async def test_resources_answer_head_requests(admin, filled):
    for path in ("/books/{book_id}", "/orders/{number}", "/imports/{job_id}", "/users/me", "/cart"):
        path = at(path, filled)

        whole, head = await admin.get(path), await admin.head(path)

        assert (whole.status, head.status, await head.read()) == (200, 200, b""), path


async def test_every_resource_supports_conditional_requests(admin, filled):
    for path in SINGLE:
        path = at(path, filled)
        tag = (await admin.get(path)).headers["ETag"]

        again = await admin.get(path, headers={"If-None-Match": tag})

        assert re.fullmatch(r'"[^"]+"', tag), path  # A weak ETag would start with W/.
        assert (again.status, await again.read()) == (304, b""), path


async def test_every_page_of_the_contract_is_served(admin, client, filled):
    book, order = f"/books/{filled['book_id']}", f"/orders/{filled['number']}"
    await admin.post("/api/v1/cart/items", json={"book_id": filled["book_id"], "quantity": 1})

    for path in [*PUBLIC_PAGES, book]:
        answer = await client.get(path)
        assert (answer.status, answer.content_type) == (200, "text/html"), path
    for path in ["/checkout", "/orders", order, "/account", *STAFF_PAGES, f"/admin{order}"]:
        answer = await admin.get(path, allow_redirects=False)
        assert (answer.status, answer.content_type) == (200, "text/html"), path


async def test_a_repeated_request_starts_an_export_once(admin):
    body, key = {"list": "books", "format": "csv"}, {"Idempotency-Key": "once"}

    first = await admin.post("/api/v1/exports", json=body, headers=key)
    again = await admin.post("/api/v1/exports", json=body, headers=key)
    other = await admin.post("/api/v1/exports", json={**body, "format": "xlsx"}, headers=key)

    assert (first.status, again.status) == (202, 202)
    assert (await again.json())["id"] == (await first.json())["id"]
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status, (await other.json())["code"]) == (422, "idempotency-key-reused")
