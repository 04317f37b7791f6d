"""A scenario that calls every operation of the API; the API's examples are recorded from it.

`make examples` writes the recorded requests and responses to a file. A test runs the scenario
again and compares.
"""

import re
from collections.abc import Mapping
from typing import Any

import pyotp
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import select, update

from bookstore.database.engine import transaction
from bookstore.database.tables import orders, tasks, users
from bookstore.exports.exporter import Exporter
from bookstore.imports.importer import Importer
from bookstore.orders import processing
from bookstore.tasks.job_runner import JobRunner
from bookstore.tasks.jobs import JobKind
from bookstore.users.permissions import Role
from tests.factories import NOON, Trace
from tests.pictures import png
from tests.web.mailbox import token_to
from web.api import routes
from web.api.operations import operation_of
from web.server.keys import ENGINE

PASSWORD = "seven wells deep"
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
QUAY = {
    "name": "Mina Murray",
    "line1": "1 Crescent",
    "line2": None,
    "city": "Whitby",
    "postcode": "YO21 3EQ",
    "country": "GB",
    "phone": None,
}
DRACULA = {
    "isbn13": "978-0-14-143984-6",
    "title": "Dracula",
    "authors": ["Bram Stoker", {"name": "Maurice Hindle", "role": "editor"}],
    "categories": ["horror"],
    "publisher": "Penguin Classics",
    "year": 2003,
    "language": "en",
    "format": "paperback",
    "pages": 512,
    "price_cents": 999,
    "stock": 12,
}
#: A cover of the minimum size, so that the example stays short.
COVER = png(50, 75, b"".join(b"\0" + b"\x14\x50\x3c" * 50 for _ in range(75)))

#: Values that differ in each run, and their replacements in the examples.
_VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), ["2026-03-21T12:00:00.000000Z"]),
    (re.compile(r'(?<="confirmed_at": )\d+'), ["1774094400"]),
    (
        re.compile(r"\b(?:[0-9A-HJKMNP-TV-Z]{4}-){2}[0-9A-HJKMNP-TV-Z]{4}\b"),
        ["7Q3K-0V5M-X2TB", "4HN8-Y6WC-1JRD", "2ZP9-GK7S-M3EV"],
    ),
    (re.compile(r"\b[0-9a-f]{16}(?=-\d+x\d+)"), ["9f3c0a1b2c3d4e5f"]),
    (
        re.compile(r"\b[0-9a-f]{64}\b"),
        ["eb31391bc1f39133011b31c1f414b85c4ffc6cf0c6327e903ef45e232ddfa5e3"],
    ),
    (re.compile(r"bks_[\w-]+"), ["bks_3kT9vXn0Qw7Zr2Lm8Yp5Hs1Jd6Fc4Gb"]),
)
_SECRET = {
    "access_token": "Zq8yN2vK5tR7wX0mC4bJ6h",
    "code": "492039",
    "recovery_codes": "k3v8-2mzt-q9wd-5hxr",
    "secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "token": "q1Zs8vUe3nYb6tWc0rXk5mLd2pJg7hFa4iQo9yTu1wE",
    "uri": "otpauth://totp/Ampersand%20Books:mina%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "request_id": "7f3a9c51d2e84b06",
}


class ExampleRecorder:
    """Calls operations and records requests and responses as examples."""

    def __init__(self, server: TestServer) -> None:
        self.examples: dict[str, dict[str, Any]] = {}
        self._server = server
        self._found: dict[str, list[str]] = {}
        self._routes = {
            operation.name: (route.method, routes.API + re.sub(r":\[0-9\]\{1,18\}", "", route.path))
            for route in routes.OPERATIONS
            if (operation := operation_of(route.handler)) is not None
        }

    async def call(
        self,
        name: str,
        client: TestClient[Any, Any],
        *,
        path: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        data: Any = None,
        record: bool = True,
    ) -> Any:
        """Call the operation, check that it succeeded, and return the content of the response."""
        method, address = self._routes[name]
        for part, value in (path or {}).items():
            address = address.replace(f"{{{part}}}", str(value))
        content = {"data": data} if body is None else {"json": body}
        async with client.request(
            method, address, params=query, headers={**BROWSER, **(headers or {})}, **content
        ) as answer:
            assert answer.status < 300, (name, answer.status, await answer.text())
            if answer.content_type == "text/event-stream":
                # The retry delay, then the first event.
                parts = [await answer.content.readuntil(b"\n\n") for _ in range(2)]
                shown: Any = b"".join(parts).decode()
            elif answer.content_type == "application/json":
                shown = await answer.json()
            else:
                shown = await answer.text() if answer.content_type == "image/svg+xml" else None
            if record:
                request = {"path": path, "query": query, "headers": headers, "body": body}
                example = {part: value for part, value in request.items() if value is not None}
                example["status"] = answer.status
                if "Location" in answer.headers:
                    example["location"] = answer.headers["Location"]
                if shown is not None:
                    example["answer"] = shown
                self.examples[name] = self._normalize(example)
        return shown

    def _normalize(self, value: Any, name: str = "") -> Any:
        """The value with everything that differs in each run replaced."""
        if isinstance(value, dict):
            return {key: self._normalize(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._normalize(inner, name) for inner in value]
        if not isinstance(value, str):
            return value
        if name in _SECRET and not value.startswith("bks_"):
            return _SECRET[name]
        for pattern, names in _VARIABLE:
            value = pattern.sub(lambda match, names=names: self._stand_in(match[0], names), value)
        return value

    def _stand_in(self, found: str, names: list[str]) -> str:
        known = self._found.setdefault(names[0], [])
        if found not in known:
            known.append(found)
        return names[min(known.index(found), len(names) - 1)]


async def play_story(
    server: TestServer, recorder: ExampleRecorder | None = None
) -> dict[str, dict[str, Any]]:
    """Run the scenario; returns the examples by operation name."""
    recorder = recorder or ExampleRecorder(server)
    async with TestClient(server) as admin, TestClient(server) as mina, TestClient(server) as guest:
        await _staff_register(recorder, admin)
        await _staff_create_books(recorder, admin)
        await _mina_registers(recorder, mina)
        await _mina_secures_her_account(recorder, mina)
        await _guest_browses(recorder, guest)
        numbers = await _mina_orders(recorder, mina)
        await _a_guest_orders(recorder, guest)
        await _staff_process_orders(recorder, admin, numbers)
        await _mina_reads_notifications(recorder, mina)
        await _staff_remove_items(recorder, admin)
        await _staff_import_and_export(recorder, admin)
        # Mina signs in with the guest's client as a second device.
        await _mina_leaves(recorder, mina, guest)
    return recorder.examples


async def _staff_register(recorder: ExampleRecorder, admin: TestClient[Any, Any]) -> None:
    call, server = recorder.call, recorder._server
    staff = {"email": "ada@example.com", "password": PASSWORD, "name": "Ada"}
    await call("register", admin, body=staff, record=False)
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(users).values(role=Role.ADMIN))
    await call("list_categories", admin, record=False)


async def _staff_create_books(recorder: ExampleRecorder, admin: TestClient[Any, Any]) -> None:
    call = recorder.call
    key = {"Idempotency-Key": "category-horror"}
    await call("create_category", admin, headers=key, body={"name": "Horror"})
    await call("create_category", admin, body={"name": "Gothic", "parent": "horror"}, record=False)
    key = {"Idempotency-Key": "book-9780141439846"}
    book = await call("create_book", admin, headers=key, body=DRACULA)
    at = {"book_id": book["id"]}
    other = {**DRACULA, "isbn13": "978-0-19-956409-5", "publisher": "Oxford University Press"}
    oxford = await call("create_book", admin, body={**other, "year": 2011}, record=False)
    key = {"Idempotency-Key": "delivery-2026-03-21"}
    movement = {"delta": 5, "reason": "received", "note": "Delivery of 21 March"}
    await call("move_stock", admin, path=at, headers=key, body=movement)
    await call("list_stock_movements", admin, path=at, query={"limit": 2})
    seen = {"If-Match": '"1.17"'}
    await call("change_book", admin, path=at, headers=seen, body={"subtitle": "A Mystery Story"})
    seen = {"If-Match": '"2.17"'}
    await call("link_editions", admin, path=at, headers=seen, body={"book_ids": [oxford["id"]]})
    await call("upload_cover", admin, path=at, headers={"If-Match": '"3.17"'}, data=COVER)
    await call("remove_cover", admin, path=at, headers={"If-Match": '"4.17"'})
    slug = {"slug": "gothic"}
    await call("change_category", admin, path=slug, headers={"If-Match": "*"}, body={"position": 2})


async def _mina_registers(recorder: ExampleRecorder, mina: TestClient[Any, Any]) -> None:
    call = recorder.call
    known = {"email": "mina@example.com", "password": PASSWORD}
    await call("register", mina, body={**known, "name": "Mina Murray"})
    await call("sign_in", mina, body=known)
    await call("show_session", mina)
    await call("show_profile", mina)
    await call("change_profile", mina, body={"name": "Mina Harker"})
    await call("show_preferences", mina)
    await call("change_preferences", mina, body={"email_when_delivered": False})
    key = {"Idempotency-Key": "address-whitby"}
    added = await call("add_address", mina, headers=key, body={**QUAY, "is_default": True})
    await call("list_addresses", mina)
    at = {"address_id": added["id"]}
    await call("change_address", mina, path=at, body={"phone": "+44 1947 602674"})


async def _mina_secures_her_account(recorder: ExampleRecorder, mina: TestClient[Any, Any]) -> None:
    call, server = recorder.call, recorder._server
    await call("send_email_verification", mina)
    token = await token_to(server, "mina@example.com", "verify-email")
    await call("verify_email", mina, path={"token": token})
    await call("change_email", mina, body={"email": "harker@example.com", "password": PASSWORD})
    enrolment = await call("begin_totp", mina)
    code = pyotp.TOTP(enrolment["secret"]).now()
    await call("enable_totp", mina, body={"code": code})
    await call("remove_totp", mina, body={"password": PASSWORD})
    made = await call("create_token", mina, body={"name": "Till", "scopes": ["read"]})
    await call("list_tokens", mina)
    await call("end_token", mina, path={"token_id": made["id"]})


async def _guest_browses(recorder: ExampleRecorder, guest: TestClient[Any, Any]) -> None:
    call = recorder.call
    found = await call("list_books", guest, query={"q": "dracula", "sort": "price", "limit": 1})
    assert found["next"] is not None
    at = {"book_id": 1}
    book = await call("show_book", guest, path=at)
    await call("show_book_by_isbn", guest, path={"isbn": "0-14-143984-X"})
    await call("list_editions", guest, path=at)
    await call("show_cover", guest, path={"name": f"{book['isbn13']}.svg"})
    # A drawing is long; one line says what comes.
    recorder.examples["show_cover"]["answer"] = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    await call("list_categories", guest)
    await call("show_category", guest, path={"slug": "horror"})
    await call("list_authors", guest, query={"q": "stoker"})
    await call("show_author", guest, path={"author_id": book["authors"][0]["id"]})


async def _mina_orders(recorder: ExampleRecorder, mina: TestClient[Any, Any]) -> list[str]:
    """The numbers of two orders: the first is confirmed, the second waits."""
    call, at = recorder.call, {"book_id": 1}
    await call("add_to_cart", mina, body={"book_id": 1, "quantity": 1})
    await call("set_cart_quantity", mina, path=at, body={"quantity": 2})
    cart = await call("show_cart", mina)
    checkout = {"shipping_address": QUAY, "expected_total_cents": cart["total_cents"]}
    key = {"Idempotency-Key": "order-2026-03-21-1"}
    order = await call("place_order", mina, headers=key, body=checkout)
    number = {"number": order["number"]}
    await _process_orders(recorder)
    await call("show_order", mina, path=number)
    await call("list_order_events", mina, path=number)
    await call("stream_order", mina, path=number)
    await call("reorder", mina, path=number)
    await call("remove_from_cart", mina, path=at)
    await call("clear_cart", mina)
    await call("add_to_cart", mina, body={"book_id": 1, "quantity": 1}, record=False)
    key = {"Idempotency-Key": "order-2026-03-21-2"}
    second = await call("place_order", mina, headers=key, body={"address_id": 1}, record=False)
    await call("list_orders", mina, query={"status": "placed", "limit": 1})
    return [order["number"], second["number"]]


async def _a_guest_orders(recorder: ExampleRecorder, guest: TestClient[Any, Any]) -> None:
    call = recorder.call
    await call("add_to_cart", guest, body={"book_id": 2, "quantity": 1}, record=False)
    checkout = {"shipping_address": QUAY, "email": "lucy@example.com"}
    key = {"Idempotency-Key": "guest"}
    order = await call("place_order", guest, headers=key, body=checkout, record=False)
    await call(
        "cancel_order",
        guest,
        path={"number": order["number"]},
        query={"access_token": order["access_token"]},
        body={"reason": "Found at home"},
    )


async def _staff_process_orders(
    recorder: ExampleRecorder, admin: TestClient[Any, Any], numbers: list[str]
) -> None:
    call, server = recorder.call, recorder._server
    number = {"number": numbers[0]}
    await call("list_all_orders", admin, query={"status": "confirmed", "limit": 1})
    await call("move_order", admin, path=number, body={"to": "packed"}, record=False)
    shipped = {"to": "shipped", "tracking": "JD0002 8822 9912"}
    await call("move_order", admin, path=number, body=shipped)
    await call("change_payment", admin, path=number, body={"to": "paid"})

    async def kill_last_task() -> None:
        async with transaction(server.app[ENGINE]) as conn:
            last = await conn.scalar(select(tasks.c.id).order_by(tasks.c.id.desc()).limit(1))
            dead = {"dead_at": NOON, "attempts": 5, "error": "SMTPResponseException: 451"}
            await conn.execute(update(tasks).where(tasks.c.id == last).values(dead))

    await kill_last_task()
    task = await call("list_tasks", admin, query={"state": "dead", "limit": 1})
    at = {"task_id": task["items"][0]["id"]}
    await call("replay_task", admin, path=at)
    await kill_last_task()
    await call("discard_task", admin, path=at, body={"reason": "The customer has called"})
    found = await call("list_emails", admin, query={"limit": 1})
    await call("resend_email", admin, path={"notification_id": found["items"][0]["id"]})
    message = {"user_id": 2, "subject": "Your order", "body": "It is on its way again."}
    await call("send_message", admin, headers={"Idempotency-Key": "message"}, body=message)
    await call("list_users", admin, query={"q": "mina"})
    await call("show_user", admin, path={"user_id": 2})
    await call("change_user", admin, path={"user_id": 2}, body={"role": "clerk"})
    await call("change_user", admin, path={"user_id": 2}, body={"role": "customer"}, record=False)
    recorder.examples["stream_all_orders"] = {"status": 200}


async def _mina_reads_notifications(recorder: ExampleRecorder, mina: TestClient[Any, Any]) -> None:
    call = recorder.call
    found = await call("list_notifications", mina, query={"unread": "true", "limit": 1})
    at = {"notification_id": found["items"][0]["id"]}
    await call("read_notification", mina, path=at)


async def _staff_remove_items(recorder: ExampleRecorder, admin: TestClient[Any, Any]) -> None:
    call = recorder.call
    await call("remove_category", admin, path={"slug": "gothic"}, headers={"If-Match": "*"})
    await call("withdraw_book", admin, path={"book_id": 2}, headers={"If-Match": "*"})


async def _staff_import_and_export(recorder: ExampleRecorder, admin: TestClient[Any, Any]) -> None:
    call = recorder.call
    key = {"Idempotency-Key": "wholesaler-2026-03-21"}
    job = await call("start_import", admin, headers=key, data=_book_list())
    await _run(recorder, job["id"])
    at = {"job_id": job["id"]}
    await call("show_import", admin, path=at)
    await call("list_import_lines", admin, path=at)
    await call("show_refused_rows", admin, path=at)
    await call("stream_import", admin, path=at)
    await call("list_imports", admin, query={"limit": 1})
    job = await call("start_import", admin, data=_book_list(), record=False)
    await call("cancel_import", admin, path={"job_id": job["id"]})
    key = {"Idempotency-Key": "books-2026-03-21"}
    job = await call("start_export", admin, headers=key, body={"list": "books", "format": "xlsx"})
    await _run(recorder, job["id"])
    at = {"job_id": job["id"]}
    await call("show_export", admin, path=at)
    await call("list_exports", admin, query={"limit": 1})
    await call("fetch_export", admin, path=at)
    job = await call("start_export", admin, body={"list": "orders"}, record=False)
    await call("cancel_export", admin, path={"job_id": job["id"]})


def _book_list() -> FormData:
    rows = [
        "isbn;title;authors;price;stock",
        "978-0-14-043909-0;Frankenstein;Mary Shelley;8,99;4",
        "978-0-14-043909-1;The Monk;Matthew Lewis;7,50;2",
    ]
    form = FormData()
    form.add_field("file", "\n".join(rows).encode(), filename="spring.csv")
    return form


async def _run(recorder: ExampleRecorder, job_id: int) -> None:
    """Run the job as an actor does."""
    engine = recorder._server.app[ENGINE]
    importer = Importer(engine, currency="EUR", country="DE", clock=lambda: NOON)
    exporter = Exporter(engine, currency="EUR", clock=lambda: NOON)
    works = {JobKind.IMPORT_BOOKS: importer, JobKind.EXPORT_BOOKS: exporter}
    await JobRunner(engine, works, clock=lambda: NOON).run(job_id)


async def _mina_leaves(
    recorder: ExampleRecorder, mina: TestClient[Any, Any], phone: TestClient[Any, Any]
) -> None:
    call = recorder.call
    known = {"email": "mina@example.com", "password": PASSWORD}
    await call("sign_in", phone, body=known, record=False)
    devices = await call("list_sessions", mina)
    other = next(device["id"] for device in devices["items"] if not device["current"])
    await call("end_session", mina, path={"session": other})
    await call("remove_address", mina, path={"address_id": 1})
    changed = {"current_password": PASSWORD, "new_password": "eleven blue lanterns"}
    await call("change_password", mina, body=changed)
    await call("sign_out", mina)
    await call("request_password_reset", mina, body={"email": "mina@example.com"})
    token = await token_to(recorder._server, "mina@example.com", "reset-password")
    new = {"password": "nine green bottles"}
    await call("reset_password", mina, path={"token": token}, body=new)
    lucy = {"email": "lucy@example.com", "password": PASSWORD, "name": "Lucy Westenra"}
    await call("register", mina, body=lucy, record=False)
    await call("export_data", mina)
    await call("erase_account", mina, body={"password": PASSWORD})


async def _process_orders(recorder: ExampleRecorder) -> None:
    """Process placed orders as an actor does."""
    async with transaction(recorder._server.app[ENGINE]) as conn:
        placed = await conn.scalars(select(orders.c.id).where(orders.c.status == "placed"))
        await processing.process(conn, list(placed), trace=Trace(), now=NOON)
