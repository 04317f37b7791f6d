"""The story of a small store, told with every operation of the API: where its examples come from.

`make examples` writes down what was asked and answered; a test tells the story again and
compares.
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
from bookstore.tasks.job_runner import Runner
from bookstore.tasks.jobs import Kind
from bookstore.users.permissions import Role
from tests.bookstore.catalogue.covers.test_uploaded import png
from tests.factories import NOON
from tests.web.api.test_orders import Trace
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
#: A cover of the least size: a picture in the text would fill the page.
COVER = png(50, 75, b"".join(b"\0" + b"\x14\x50\x3c" * 50 for _ in range(75)))

#: What is never the same twice, and what stands for it in the examples.
_MADE_UP = (
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


class Teller:
    """Plays the operations and remembers what was asked and answered."""

    def __init__(self, server: TestServer) -> None:
        self.told: dict[str, dict[str, Any]] = {}
        self._server = server
        self._found: dict[str, list[str]] = {}
        self._routes = {
            operation.name: (route.method, routes.API + re.sub(r":\[0-9\]\{1,18\}", "", route.path))
            for route in routes.OPERATIONS
            if (operation := operation_of(route.handler)) is not None
        }

    async def play(
        self,
        name: str,
        client: TestClient[Any, Any],
        *,
        path: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        data: Any = None,
        note: bool = True,
    ) -> Any:
        """The answer's content, after it was checked that the operation was carried out."""
        method, address = self._routes[name]
        for part, value in (path or {}).items():
            address = address.replace(f"{{{part}}}", str(value))
        content = {"data": data} if body is None else {"json": body}
        async with client.request(
            method, address, params=query, headers={**BROWSER, **(headers or {})}, **content
        ) as answer:
            assert answer.status < 300, (name, answer.status, await answer.text())
            if answer.content_type == "text/event-stream":
                # How long to wait before coming again, then what has happened first.
                parts = [await answer.content.readuntil(b"\n\n") for _ in range(2)]
                shown: Any = b"".join(parts).decode()
            elif answer.content_type == "application/json":
                shown = await answer.json()
            else:
                shown = await answer.text() if answer.content_type == "image/svg+xml" else None
            if note:
                asked = {"path": path, "query": query, "headers": headers, "body": body}
                example = {part: value for part, value in asked.items() if value is not None}
                example["status"] = answer.status
                if "Location" in answer.headers:
                    example["location"] = answer.headers["Location"]
                if shown is not None:
                    example["answer"] = shown
                self.told[name] = self._plain(example)
        return shown

    def _plain(self, value: Any, name: str = "") -> Any:
        """The same, but for what is never the same twice."""
        if isinstance(value, dict):
            return {key: self._plain(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._plain(inner, name) for inner in value]
        if not isinstance(value, str):
            return value
        if name in _SECRET and not value.startswith("bks_"):
            return _SECRET[name]
        for pattern, names in _MADE_UP:
            value = pattern.sub(lambda match, names=names: self._stand_in(match[0], names), value)
        return value

    def _stand_in(self, found: str, names: list[str]) -> str:
        known = self._found.setdefault(names[0], [])
        if found not in known:
            known.append(found)
        return names[min(known.index(found), len(names) - 1)]


async def tell(server: TestServer, teller: Teller | None = None) -> dict[str, dict[str, Any]]:
    """Everything that happens in the story, by the names of the operations."""
    teller = teller or Teller(server)
    async with TestClient(server) as admin, TestClient(server) as mina, TestClient(server) as guest:
        await _staff_open(teller, admin)
        await _books_come(teller, admin)
        await _mina_comes(teller, mina)
        await _mina_secures_her_account(teller, mina)
        await _people_look(teller, guest)
        numbers = await _mina_orders(teller, mina)
        await _a_guest_orders(teller, guest)
        await _staff_work(teller, admin, numbers)
        await _mina_reads(teller, mina)
        await _staff_tidy(teller, admin)
        await _lists_come_and_go(teller, admin)
        # The guest's browser becomes a second one of hers.
        await _mina_goes(teller, mina, guest)
    return teller.told


async def _staff_open(teller: Teller, admin: TestClient[Any, Any]) -> None:
    play, server = teller.play, teller._server
    staff = {"email": "ada@example.com", "password": PASSWORD, "name": "Ada"}
    await play("register", admin, body=staff, note=False)
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(users).values(role=Role.ADMIN))
    await play("list_categories", admin, note=False)


async def _books_come(teller: Teller, admin: TestClient[Any, Any]) -> None:
    play = teller.play
    key = {"Idempotency-Key": "category-horror"}
    await play("create_category", admin, headers=key, body={"name": "Horror"})
    await play("create_category", admin, body={"name": "Gothic", "parent": "horror"}, note=False)
    key = {"Idempotency-Key": "book-9780141439846"}
    book = await play("create_book", admin, headers=key, body=DRACULA)
    at = {"book_id": book["id"]}
    other = {**DRACULA, "isbn13": "978-0-19-956409-5", "publisher": "Oxford University Press"}
    oxford = await play("create_book", admin, body={**other, "year": 2011}, note=False)
    key = {"Idempotency-Key": "delivery-2026-03-21"}
    copies = {"delta": 5, "reason": "received", "note": "Delivery of 21 March"}
    await play("move_stock", admin, path=at, headers=key, body=copies)
    await play("list_stock_movements", admin, path=at, query={"limit": 2})
    seen = {"If-Match": '"1.17"'}
    await play("change_book", admin, path=at, headers=seen, body={"subtitle": "A Mystery Story"})
    seen = {"If-Match": '"2.17"'}
    await play("link_editions", admin, path=at, headers=seen, body={"book_ids": [oxford["id"]]})
    await play("upload_cover", admin, path=at, headers={"If-Match": '"3.17"'}, data=COVER)
    await play("remove_cover", admin, path=at, headers={"If-Match": '"4.17"'})
    slug = {"slug": "gothic"}
    await play("change_category", admin, path=slug, headers={"If-Match": "*"}, body={"position": 2})


async def _mina_comes(teller: Teller, mina: TestClient[Any, Any]) -> None:
    play = teller.play
    known = {"email": "mina@example.com", "password": PASSWORD}
    await play("register", mina, body={**known, "name": "Mina Murray"})
    await play("sign_in", mina, body=known)
    await play("show_session", mina)
    await play("show_profile", mina)
    await play("change_profile", mina, body={"name": "Mina Harker"})
    await play("show_preferences", mina)
    await play("change_preferences", mina, body={"email_when_delivered": False})
    key = {"Idempotency-Key": "address-whitby"}
    added = await play("add_address", mina, headers=key, body={**QUAY, "is_default": True})
    await play("list_addresses", mina)
    at = {"address_id": added["id"]}
    await play("change_address", mina, path=at, body={"phone": "+44 1947 602674"})


async def _mina_secures_her_account(teller: Teller, mina: TestClient[Any, Any]) -> None:
    play, server = teller.play, teller._server
    await play("send_email_verification", mina)
    token = await token_to(server, "mina@example.com", "verify-email")
    await play("verify_email", mina, path={"token": token})
    await play("change_email", mina, body={"email": "harker@example.com", "password": PASSWORD})
    enrolment = await play("begin_totp", mina)
    code = pyotp.TOTP(enrolment["secret"]).now()
    await play("enable_totp", mina, body={"code": code})
    await play("remove_totp", mina, body={"password": PASSWORD})
    made = await play("create_token", mina, body={"name": "Till", "scopes": ["read"]})
    await play("list_tokens", mina)
    await play("end_token", mina, path={"token_id": made["id"]})


async def _people_look(teller: Teller, guest: TestClient[Any, Any]) -> None:
    play = teller.play
    found = await play("list_books", guest, query={"q": "dracula", "sort": "price", "limit": 1})
    assert found["next"] is not None
    at = {"book_id": 1}
    book = await play("show_book", guest, path=at)
    await play("show_book_by_isbn", guest, path={"isbn": "0-14-143984-X"})
    await play("list_editions", guest, path=at)
    await play("show_cover", guest, path={"name": f"{book['isbn13']}.svg"})
    # A drawing is long; one line says what comes.
    teller.told["show_cover"]["answer"] = '<svg xmlns="http://www.w3.org/2000/svg"/>'
    await play("list_categories", guest)
    await play("show_category", guest, path={"slug": "horror"})
    await play("list_authors", guest, query={"q": "stoker"})
    await play("show_author", guest, path={"author_id": book["authors"][0]["id"]})


async def _mina_orders(teller: Teller, mina: TestClient[Any, Any]) -> list[str]:
    """The numbers of two orders: the first is confirmed, the second waits."""
    play, at = teller.play, {"book_id": 1}
    await play("add_to_cart", mina, body={"book_id": 1, "quantity": 1})
    await play("set_cart_quantity", mina, path=at, body={"quantity": 2})
    cart = await play("show_cart", mina)
    wanted = {"shipping_address": QUAY, "expected_total_cents": cart["total_cents"]}
    key = {"Idempotency-Key": "order-2026-03-21-1"}
    order = await play("place_order", mina, headers=key, body=wanted)
    number = {"number": order["number"]}
    await _worked_off(teller)
    await play("show_order", mina, path=number)
    await play("list_order_events", mina, path=number)
    await play("stream_order", mina, path=number)
    await play("reorder", mina, path=number)
    await play("remove_from_cart", mina, path=at)
    await play("clear_cart", mina)
    await play("add_to_cart", mina, body={"book_id": 1, "quantity": 1}, note=False)
    key = {"Idempotency-Key": "order-2026-03-21-2"}
    second = await play("place_order", mina, headers=key, body={"address_id": 1}, note=False)
    await play("list_orders", mina, query={"status": "placed", "limit": 1})
    return [order["number"], second["number"]]


async def _a_guest_orders(teller: Teller, guest: TestClient[Any, Any]) -> None:
    play = teller.play
    await play("add_to_cart", guest, body={"book_id": 2, "quantity": 1}, note=False)
    wanted = {"shipping_address": QUAY, "email": "lucy@example.com"}
    key = {"Idempotency-Key": "guest"}
    order = await play("place_order", guest, headers=key, body=wanted, note=False)
    await play(
        "cancel_order",
        guest,
        path={"number": order["number"]},
        query={"access_token": order["access_token"]},
        body={"reason": "Found at home"},
    )


async def _staff_work(teller: Teller, admin: TestClient[Any, Any], numbers: list[str]) -> None:
    play, server = teller.play, teller._server
    number = {"number": numbers[0]}
    await play("list_all_orders", admin, query={"status": "confirmed", "limit": 1})
    await play("move_order", admin, path=number, body={"to": "packed"}, note=False)
    shipped = {"to": "shipped", "tracking": "JD0002 8822 9912"}
    await play("move_order", admin, path=number, body=shipped)
    await play("change_payment", admin, path=number, body={"to": "paid"})
    async with transaction(server.app[ENGINE]) as conn:
        last = await conn.scalar(select(tasks.c.id).order_by(tasks.c.id.desc()).limit(1))
        dead = {"dead_at": NOON, "attempts": 5, "error": "SMTPResponseException: 451"}
        await conn.execute(update(tasks).where(tasks.c.id == last).values(dead))
    task = await play("list_tasks", admin, query={"state": "dead", "limit": 1})
    at = {"task_id": task["items"][0]["id"]}
    await play("replay_task", admin, path=at)
    await play("discard_task", admin, path=at, body={"reason": "The customer has called"})
    found = await play("list_letters", admin, query={"limit": 1})
    await play("resend_letter", admin, path={"notification_id": found["items"][0]["id"]})
    message = {"user_id": 2, "subject": "Your parcel", "body": "It is on its way again."}
    await play("send_message", admin, headers={"Idempotency-Key": "parcel"}, body=message)
    await play("list_users", admin, query={"q": "mina"})
    await play("show_user", admin, path={"user_id": 2})
    await play("change_user", admin, path={"user_id": 2}, body={"role": "clerk"})
    await play("change_user", admin, path={"user_id": 2}, body={"role": "customer"}, note=False)
    teller.told["stream_all_orders"] = {"status": 200}


async def _mina_reads(teller: Teller, mina: TestClient[Any, Any]) -> None:
    play = teller.play
    found = await play("list_notifications", mina, query={"unread": "true", "limit": 1})
    at = {"notification_id": found["items"][0]["id"]}
    await play("read_notification", mina, path=at)


async def _staff_tidy(teller: Teller, admin: TestClient[Any, Any]) -> None:
    play = teller.play
    await play("remove_category", admin, path={"slug": "gothic"}, headers={"If-Match": "*"})
    await play("withdraw_book", admin, path={"book_id": 2}, headers={"If-Match": "*"})


async def _lists_come_and_go(teller: Teller, admin: TestClient[Any, Any]) -> None:
    play = teller.play
    key = {"Idempotency-Key": "wholesaler-2026-03-21"}
    job = await play("start_import", admin, headers=key, data=_list_of_books())
    await _run(teller, job["id"])
    at = {"job_id": job["id"]}
    await play("show_import", admin, path=at)
    await play("list_import_lines", admin, path=at)
    await play("show_refused_rows", admin, path=at)
    await play("stream_import", admin, path=at)
    await play("list_imports", admin, query={"limit": 1})
    job = await play("start_import", admin, data=_list_of_books(), note=False)
    await play("cancel_import", admin, path={"job_id": job["id"]})
    key = {"Idempotency-Key": "books-2026-03-21"}
    job = await play("start_export", admin, headers=key, body={"list": "books", "format": "xlsx"})
    await _run(teller, job["id"])
    at = {"job_id": job["id"]}
    await play("show_export", admin, path=at)
    await play("list_exports", admin, query={"limit": 1})
    await play("fetch_export", admin, path=at)
    job = await play("start_export", admin, body={"list": "orders"}, note=False)
    await play("cancel_export", admin, path={"job_id": job["id"]})


def _list_of_books() -> FormData:
    rows = [
        "isbn;title;authors;price;stock",
        "978-0-14-043909-0;Frankenstein;Mary Shelley;8,99;4",
        "978-0-14-043909-1;The Monk;Matthew Lewis;7,50;2",
    ]
    form = FormData()
    form.add_field("file", "\n".join(rows).encode(), filename="spring.csv")
    return form


async def _run(teller: Teller, job_id: int) -> None:
    """What an actor does when it gets the message."""
    engine = teller._server.app[ENGINE]
    importer = Importer(engine, currency="EUR", clock=lambda: NOON)
    exporter = Exporter(engine, currency="EUR", clock=lambda: NOON)
    works = {Kind.IMPORT_BOOKS: importer, Kind.EXPORT_BOOKS: exporter}
    await Runner(engine, works, clock=lambda: NOON).run(job_id)


async def _mina_goes(
    teller: Teller, mina: TestClient[Any, Any], phone: TestClient[Any, Any]
) -> None:
    play = teller.play
    known = {"email": "mina@example.com", "password": PASSWORD}
    await play("sign_in", phone, body=known, note=False)
    devices = await play("list_sessions", mina)
    other = next(device["id"] for device in devices["items"] if not device["current"])
    await play("end_session", mina, path={"session": other})
    await play("remove_address", mina, path={"address_id": 1})
    changed = {"current_password": PASSWORD, "new_password": "eleven blue lanterns"}
    await play("change_password", mina, body=changed)
    await play("sign_out", mina)
    await play("ask_for_password_reset", mina, body={"email": "mina@example.com"})
    token = await token_to(teller._server, "mina@example.com", "reset-password")
    new = {"password": "nine green bottles"}
    await play("reset_password", mina, path={"token": token}, body=new)
    lucy = {"email": "lucy@example.com", "password": PASSWORD, "name": "Lucy Westenra"}
    await play("register", mina, body=lucy, note=False)
    await play("export_data", mina)
    await play("erase_account", mina, body={"password": PASSWORD})


async def _worked_off(teller: Teller) -> None:
    """What the order service does when it gets the message."""
    async with transaction(teller._server.app[ENGINE]) as conn:
        placed = await conn.scalars(select(orders.c.id).where(orders.c.status == "placed"))
        await processing.process(conn, list(placed), trace=Trace(), now=NOON)
