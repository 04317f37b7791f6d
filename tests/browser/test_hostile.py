"""Hostile texts of customers in the dashboard: nothing runs, no request leaves the store."""

import asyncio
import csv
import io
import json
import sqlite3
from contextlib import closing

import pytest
from playwright.async_api import expect

from tests.browser.hostile import HOSTILE
from tests.e2e.programs import ADMIN
from tests.factories import isbn13_of

AT = "2026-03-21 12:00:00.000000"
#: Three in every text, so that forty orders show each of them in each place.
WORDS = [" ".join(HOSTILE[place::40]) for place in range(40)]


def plant(store):
    """Put every string into every text that a customer can send, and into its results."""
    path = store.folder / "var" / "bookstore.db"
    with closing(sqlite3.connect(path, timeout=20)) as conn, conn:
        for place, words in enumerate(WORDS, 1):
            user = conn.execute(
                "INSERT INTO users (email, email_key, password_hash, name, role, created_at,"
                " updated_at) VALUES (?, ?, '-', ?, 'customer', ?, ?)",
                (f"{words}@{place}", f"{place}@evil.example", words, AT, AT),
            ).lastrowid
            address = dict.fromkeys(("name", "line1", "line2", "city", "postcode", "phone"), words)
            order = conn.execute(
                "INSERT INTO orders (number, cart_id, checkout_no, user_id, email, status,"
                " payment_status, currency, shipping_address, terms, note, reason, tracking,"
                " total_cents, last_seq, placed_at, updated_at) SELECT ?, ?, 1, ?, ?, 'cancelled',"
                " 'unpaid', 'EUR', ?, terms, ?, ?, ?, 1290, 1, ?, ? FROM orders LIMIT 1",
                (
                    f"EV1L-{place:04}",
                    1_000_000 + place,
                    user,
                    f"{words}@x",
                    json.dumps({**address, "country": words}),
                    words,
                    words,
                    words,
                    AT,
                    AT,
                ),
            ).lastrowid
            conn.execute(
                "INSERT INTO order_lines SELECT ?, id, isbn13, ?, 1, 1290 FROM books LIMIT 1",
                (order, words),
            )
            conn.execute(
                "INSERT INTO order_events (order_id, seq, kind, at, actor, detail)"
                " VALUES (?, 1, 'cancelled', ?, 'customer', ?)",
                (order, AT, words),
            )
            conn.execute(
                "INSERT INTO notifications (user_id, order_id, kind, status, in_doubt, recipient,"
                " subject, body, attempts, smtp_answer, created_at)"
                " VALUES (?, ?, 'message', 'failed', 1, ?, ?, ?, 5, ?, ?)",
                (user, order, words, words, words, words, AT),
            )
            conn.execute(
                "INSERT INTO sessions (id_hash, user_id, data, address, user_agent, created_at,"
                " last_seen_at, expires_at) VALUES (?, ?, '{}', ?, ?, ?, ?, '2036-01-01 00:00:00')",
                (place.to_bytes(32, "big"), user, words, words, AT, AT),
            )
            conn.execute(
                "INSERT INTO tasks (task, ref_id, due_at, publish_count, attempts, error, dead_at,"
                " created_at) VALUES ('process_orders', ?, ?, 1, 5, ?, ?, ?)",
                (order, AT, words, AT, AT),
            )
            conn.execute(
                "INSERT INTO audit_log (at, action, object_type, object_id, changes)"
                " VALUES (?, 'change', 'user', ?, ?)",
                (AT, str(user), json.dumps({"name": [words, words]})),
            )
        return [
            [row[0] for row in conn.execute(query)]
            for query in (
                f"SELECT id FROM users WHERE created_at = '{AT}'",
                f"SELECT id FROM notifications WHERE created_at = '{AT}'",
                f"SELECT id FROM tasks WHERE created_at = '{AT}'",
            )
        ]


async def import_hostile(page):
    """Import a list with hostile strings in its name and cells; returns its job and books."""
    rows = [["isbn", "title", "subtitle", "authors", "publisher", "category", "price"]]
    for place, words in enumerate(WORDS):
        plain = " ".join(words.replace("|", "/").replace(";", ",").split())
        number = isbn13_of(9_000_000 + place)
        rows.append([number, plain, plain, plain, plain[:150], plain[:60], "12.90"])
        rows.append(
            [plain, plain, plain, plain, plain, plain, plain]
        )  # Refused, and shown as refused.
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    file = {"name": f"{WORDS[0][:100]}.csv", "mimeType": "text/csv"}
    sent = await page.request.post(
        "/api/v1/imports", multipart={"file": {**file, "buffer": text.getvalue().encode()}}
    )
    job = await sent.json()
    for _ in range(300):
        if job["finished_at"]:
            break
        await asyncio.sleep(0.1)
        job = await (await page.request.get(f"/api/v1/imports/{job['id']}")).json()
    assert job["created"] > 30, job
    found = await page.request.get("/api/v1/books?sort=-created_at&limit=40")
    return job["id"], [book["id"] for book in (await found.json())["items"]]


# Two hundred pages, on a machine that may be busy.
@pytest.mark.timeout(400)
async def test_s21_hostile_texts_do_not_run(visit, store):
    async with visit() as page:
        # A real order provides the terms for the others.
        await page.request.post("/api/v1/cart/items", data={"book_id": 7, "quantity": 1})
        placed = await page.request.post(
            "/api/v1/orders",
            headers={"Idempotency-Key": "the first"},
            data={
                "email": "mina@example.com",
                "shipping_address": {
                    "name": "Mina",
                    "line1": "1 Crescent",
                    "city": "Whitby",
                    "postcode": "YO21 3EQ",
                    "country": "GB",
                },
            },
        )
        assert placed.ok, await placed.text()
        users, emails, tasks = plant(store)
        await page.request.post("/api/v1/session", data=ADMIN)
        job, books = await import_hostile(page)
        many = "&".join(f"number=EV1L-{place:04}" for place in range(1, 41))
        paths = [
            "",
            *(f"/orders?size=100&sort={sort}" for sort in ("placed", "-total", "number")),
            *(f"/orders/EV1L-{place:04}" for place in range(1, len(WORDS) + 1)),
            f"/orders/slips?{many}",
            "/users?size=100",
            "/users?size=100&sort=name",
            *(f"/users/{user}" for user in users),
            "/notifications?size=100",
            "/notifications?size=100&sort=time",
            *(f"/notifications?email={email}" for email in emails[::4]),
            *(f"/notifications/{email}/body" for email in emails),
            "/books?size=100&sort=-new",
            *(f"/books/{book}" for book in books[::8]),
            *(f"/books/{book}/stock" for book in books[::16]),
            "/authors?size=100",
            "/categories",
            "/imports",
            f"/imports/{job}",
            "/queues",
            *(f"/queues?task={task}" for task in tasks[::4]),
            "/audit?size=100",
            "/audit?size=100&object=user",
        ]
        for words in HOSTILE[::20]:
            asked = "".join(f"%{byte:02x}" for byte in words.encode())
            paths += [f"/{name}?q={asked}" for name in ("orders", "users", "books", "search")]
        for path in paths:
            answer = await page.goto(f"/admin{path}")
            assert answer is not None
            assert answer.status == 200, path
            assert await page.evaluate("window.hacked") is None, path
        # The strings are all shown, as text.
        await page.goto("/admin/orders/EV1L-0001")
        await expect(page.get_by_text(HOSTILE[0]).first).to_be_visible()
