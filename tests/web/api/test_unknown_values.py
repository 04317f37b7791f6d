"""Values that only a newer release knows: every operation returns their text and none fails."""

import asyncio
import io
import re
from typing import Any, NamedTuple

import pytest
from sqlalchemy import func, select, update

from bookstore.database import tables as t
from bookstore.database.engine import reading, transaction
from bookstore.exports.exporter import Exporter
from bookstore.imports.importer import Importer
from bookstore.tasks.job_runner import JobRunner
from bookstore.tasks.jobs import JobKind
from bookstore.users.permissions import Role
from tests.factories import NOON
from tests.web.api.sample_data import DUNE, HOME
from tests.web.conftest import PASSWORD
from web.api import routes
from web.api.operations import operation_of
from web.server.keys import ENGINE

#: What the API returns does not depend on the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

#: The value that the newer release has stored.
NEWER = "from-tomorrow"
OWNER = "owner@example.com"
#: The operations that show each column, to the owner of the data and to an administrator.
COLUMNS: dict[Any, tuple[set[str], set[str]]] = {
    t.orders.c.status: (
        {"show_order", "list_orders", "export_data"},
        {"show_order", "list_all_orders"},
    ),
    t.orders.c.payment_status: (
        {"show_order", "list_orders", "export_data"},
        {"show_order", "list_all_orders"},
    ),
    t.order_events.c.kind: ({"list_order_events", "export_data"}, {"list_order_events"}),
    t.stock_movements.c.reason: (set(), {"list_stock_movements"}),
    t.tasks.c.task: (set(), {"list_tasks"}),
    t.notifications.c.kind: ({"list_notifications", "export_data"}, {"list_emails"}),
    t.notifications.c.status: ({"list_notifications", "export_data"}, {"list_emails"}),
    # A job of an unknown kind is neither an import nor an export, so it is not listed.
    t.jobs.c.kind: (set(), set()),
    t.jobs.c.state: (set(), {"list_imports", "show_import", "list_exports", "show_export"}),
    t.job_lines.c.outcome: (set(), {"list_import_lines"}),
    t.users.c.role: (
        {"show_profile", "show_session", "export_data"},
        {"list_users", "show_user"},
    ),
}
#: Streams do not end by themselves; a test of their own reads them.
STREAMS = {"stream_order", "stream_all_orders", "stream_import"}
GETS = {
    operation_of(route.handler).name: routes.API + re.sub(r":[^{}]*(\{[^}]*\})?", "", route.path)
    for route in routes.OPERATIONS
    if route.method == "GET"
}


class Store(NamedTuple):
    """The clients of a store, and the ids of what it contains, by path parameter."""

    owner: Any
    admin: Any
    import_id: int
    export_id: int
    ids: dict[str, Any]

    def path(self, name):
        """The URL of a GET operation, with ids of the store for its parameters."""
        job_id = self.export_id if "/exports/" in GETS[name] else self.import_id
        return GETS[name].format_map({**self.ids, "job_id": job_id})


@pytest.fixture
async def store(server, visitor):
    """A store with a row in each of the tables of `COLUMNS`."""
    owner, admin = await visitor(Role.CUSTOMER, OWNER), await visitor(Role.ADMIN)
    user_id = (await sent(owner.get("/api/v1/users/me")))["id"]
    await sent(admin.post("/api/v1/categories", json={"name": "Science fiction"}))
    book = {**DUNE, "categories": ["science-fiction"], "stock": 9}
    book = await sent(admin.post("/api/v1/books", json=book))
    await sent(owner.post("/api/v1/cart/items", json={"book_id": book["id"], "quantity": 1}))
    order = await sent(
        owner.post(
            "/api/v1/orders",
            json={"shipping_address": HOME},
            headers={"Idempotency-Key": "first"},
        )
    )
    message = {"user_id": user_id, "subject": "Hello", "body": "Thank you for your order."}
    await sent(admin.post("/api/v1/notifications", json=message))
    rows = b"isbn,title,authors,price,stock\n0441172717,Dune,Frank Herbert,free,3\n"
    started = await sent(admin.post("/api/v1/imports", data={"file": io.BytesIO(rows)}))
    exported = await sent(admin.post("/api/v1/exports", json={"list": "books"}))
    engine = server.app[ENGINE]
    handlers = {
        JobKind.IMPORT_BOOKS: Importer(engine, currency="EUR", country="DE", clock=lambda: NOON),
        JobKind.EXPORT_BOOKS: Exporter(engine, currency="EUR", clock=lambda: NOON),
    }
    for job in (started, exported):
        await JobRunner(engine, handlers, clock=lambda: NOON).run(job["id"])
    ids = {
        "user_id": user_id,
        "book_id": book["id"],
        "isbn": book["isbn13"],
        "name": f"{book['isbn13']}.svg",
        "slug": "science-fiction",
        "author_id": book["authors"][0]["id"],
        "number": order["number"],
    }
    return Store(owner, admin, started["id"], exported["id"], ids)


async def sent(request):
    """The content of the response to a request that succeeds."""
    async with request as answer:
        assert answer.status < 300, await answer.text()
        return await answer.json()


async def plant(server, column):
    """Store the newer value: for one task (kind and id are unique), else in all rows."""
    table = column.table
    query = update(table).values({column.name: NEWER})
    if table is t.tasks:
        query = query.where(table.c.id == select(func.max(table.c.id)).scalar_subquery())
    elif table is t.users:
        query = query.where(table.c.email == OWNER)
    async with transaction(server.app[ENGINE]) as conn:
        assert (await conn.execute(query)).rowcount, column


async def first_events(client, path):
    """The first part of a stream that contains the newer value."""
    async with client.get(path, headers={"Last-Event-ID": "0"}) as answer:
        assert answer.status == 200, path
        text = ""
        while NEWER not in text:
            text += (await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 10)).decode()
    return text


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{column.table.name}.{column.name}")
async def test_a_value_of_a_newer_release_is_returned_as_text(server, store, column):
    await plant(server, column)

    for client, shown in zip((store.owner, store.admin), COLUMNS[column], strict=True):
        assert shown <= GETS.keys()
        for name in GETS.keys() - STREAMS:
            async with client.get(store.path(name)) as answer:
                text = await answer.text(errors="replace")
                if name in shown:
                    assert (answer.status, f'"{NEWER}"' in text) == (200, True), (name, text)
                else:
                    assert answer.status < 500, (name, text)


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (t.order_events.c.kind, "stream_order"),
        (t.order_events.c.kind, "stream_all_orders"),
        (t.jobs.c.state, "stream_import"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
async def test_a_stream_sends_a_value_of_a_newer_release(server, store, column, name):
    await plant(server, column)

    assert NEWER in await first_events(store.admin, store.path(name))


async def test_a_user_with_a_role_of_a_newer_release_signs_in_as_a_customer(server, store, visitor):
    await plant(server, t.users.c.role)
    guest = await visitor()

    user = await sent(guest.post("/api/v1/session", json={"email": OWNER, "password": PASSWORD}))

    assert user["role"] == NEWER
    async with guest.get("/api/v1/admin/orders") as answer:
        assert answer.status == 403


async def test_a_token_with_a_scope_of_a_newer_release_has_its_other_scopes(server, store):
    made = await sent(
        store.owner.post("/api/v1/users/me/tokens", json={"name": "till", "scopes": ["read"]})
    )
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(t.api_tokens).values(scopes=["read", NEWER]))

    listed = await sent(store.owner.get("/api/v1/users/me/tokens"))

    assert listed["items"][0]["scopes"] == [NEWER, "read"]
    bearer = {"Authorization": f"Bearer {made['token']}"}
    async with store.owner.get("/api/v1/orders", headers=bearer) as answer:
        assert answer.status == 200
    async with store.owner.delete("/api/v1/cart", headers=bearer) as answer:
        assert answer.status == 403


async def test_an_export_with_a_format_of_a_newer_release_is_shown(server, store):
    async with reading(server.app[ENGINE]) as conn:
        options = await conn.scalar(select(t.jobs.c.options).where(t.jobs.c.id == store.export_id))
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(
            update(t.jobs)
            .where(t.jobs.c.id == store.export_id)
            .values(options={**options, "format": NEWER})
        )

    shown = await sent(store.admin.get(store.path("show_export")))

    assert shown["format"] == NEWER
