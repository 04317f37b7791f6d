"""The whole store in one process, as `make run` starts it."""

import asyncio
import re
import sqlite3
import time
from email import message_from_bytes, policy

import pytest

from tests.clock import own_time_s
from tests.e2e.programs import Embedded, SlowEmbedded
from tests.e2e.shopper import Shopper, some_books


@pytest.fixture(scope="module")
def store():
    with Embedded() as store:
        yield store


def emails(store):
    found = [
        message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in store.mail.glob("*.eml")
    ]
    return {
        (message["To"].addresses[0].addr_spec, message["Subject"]): message for message in found
    }


async def wait_for_emails(store, address, count, timeout_s=10):
    ends = time.monotonic() + timeout_s
    while True:
        found = {subject: it for (to, subject), it in emails(store).items() if to == address}
        if len(found) >= count:
            return found
        assert time.monotonic() < ends, f"{len(found)} e-mails for {address}"
        await asyncio.sleep(0.05)


async def buy_three(shopper, books, **facts):
    cart = await shopper.fill_cart({book["id"]: 1 for book in books})
    started = time.monotonic()
    order = await shopper.decided(
        await shopper.order(expected_total_cents=cart["total_cents"], **facts)
    )
    return cart, order, time.monotonic() - started


async def test_a_guest_and_a_user_order_three_books_each_and_get_their_emails(store):
    async with Shopper(store.url) as guest, Shopper(store.url) as user:
        account = await user.register()
        books = await some_books(guest, 3)
        (guest_cart, guest_order, guest_s), (user_cart, user_order, user_s) = await asyncio.gather(
            buy_three(guest, books, email="guest@example.com"), buy_three(user, books)
        )
        after = {
            book["id"]: (await guest.ask("GET", f"books/{book['id']}"))["stock"] for book in books
        }

    assert guest_order["status"] == user_order["status"] == "confirmed"
    assert max(guest_s, user_s) < 2
    assert guest_order["total_cents"] == guest_cart["total_cents"] == user_cart["total_cents"]
    assert after == {book["id"]: book["stock"] - 2 for book in books}
    assert store.run("doctor").returncode == 0
    for order, address, count in (
        (guest_order, "guest@example.com", 2),
        (user_order, account["email"], 3),  # The first one is the welcome e-mail.
    ):
        found = await wait_for_emails(store, address, count)
        about = [message for subject, message in found.items() if order["number"] in subject]
        assert len(about) == 2
        for message in about:
            text = message.get_body(("plain",)).get_content()
            assert "Mira Sørensen" in text
            assert f"{order['total_cents'] / 100:.2f}" in text
            assert all(book["title"].split(":")[0][:20] in text for book in books)


async def test_one_key_sent_fifty_times_at_once_is_one_order_with_identical_answers(store):
    async with Shopper(store.url) as shopper:
        await shopper.register()
        (book,) = await some_books(shopper, 1)
        await shopper.fill_cart({book["id"]: 1})

        answers = await asyncio.gather(*(shopper.order(key="the same") for _ in range(50)))

        assert all(answer == answers[0] for answer in answers)
        orders = (await shopper.ask("GET", "orders"))["items"]
        assert [order["number"] for order in orders] == [answers[0]["number"]]


async def test_another_body_under_the_same_key_is_refused(store):
    async with Shopper(store.url) as shopper:
        await shopper.register()
        (book,) = await some_books(shopper, 1)
        await shopper.fill_cart({book["id"]: 1})
        await shopper.order(key="the same")

        problem = await shopper.ask(
            "POST",
            "orders",
            {
                "shipping_address": {
                    "name": "B",
                    "line1": "x",
                    "city": "y",
                    "postcode": "20095",
                    "country": "DE",
                }
            },
            expect=422,
            **{"Idempotency-Key": "the same"},
        )

    assert problem["code"] == "idempotency-key-reused"


def test_a_second_start_takes_less_than_three_seconds_and_loses_nothing(store):
    assert "password" in store.output()
    store.stop()
    started = own_time_s()
    store.start()
    store.wait()

    assert own_time_s(store.pid) - started < 3
    assert store.output().count("Administrator") == 1
    assert store.run("doctor").returncode == 0


def test_nobody_else_can_read_the_files_of_the_store(store):
    folder = store.folder / "var"

    found = [folder, *folder.rglob("*")]

    assert {"bookstore.db", "mail"} <= {path.name for path in found}
    assert [path for path in found if path.stat().st_mode & 0o077] == []


async def test_only_the_first_start_prints_the_administrators_password():
    store = Embedded()
    for name in ("EMAIL", "PASSWORD"):
        del store.settings[f"BOOKSTORE_ADMIN_{name}"]
    with store:
        [(email, password)] = re.findall(r"Administrator: (\S+), password: (\S+)", store.output())
        async with Shopper(store.url) as boss:
            user = await boss.ask("POST", "session", {"email": email, "password": password})
            books = await boss.ask("GET", "books?limit=100")
        store.stop()
        store.start()
        store.wait()

        assert user["role"] == "admin"
        assert len(password) >= 16
        assert books["next"] is not None  # The sample catalogue has more than a hundred.
        assert store.output().count(password) == 1


async def test_a_killed_store_processes_orders_in_flight_exactly_once():
    with SlowEmbedded() as store:
        async with Shopper(store.url) as visitor:
            books = await some_books(visitor, 20, stock=10)

        async def place(number):
            async with Shopper(store.url) as guest:
                await guest.fill_cart({books[number % 20]["id"]: 1})
                return await guest.order(email=f"guest-{number}@example.com")

        placed = []
        for start in range(0, 200, 20):
            placed += await asyncio.gather(*(place(start + number) for number in range(20)))
        store.kill()
        waiting = state_counts(store)["placed"]

        store.command = Embedded.command
        store.start()
        store.wait()
        async with Shopper(store.url) as visitor:
            decided = [await visitor.decided(order) for order in placed]

        assert waiting >= 100
        assert len({order["number"] for order in decided}) == 200
        doctor = store.run("doctor")
        assert doctor.returncode == 0, doctor.stdout
        for _ in range(100):
            if not state_counts(store)["tasks"]:
                break
            await asyncio.sleep(0.2)
        sent = [subject for address, subject in emails(store) if address.startswith("guest-")]
        assert len(sent) == 400


def state_counts(store):
    """The orders by status, read from the database directly."""
    with sqlite3.connect(store.folder / "var" / "bookstore.db") as conn:
        counts = dict(conn.execute("SELECT status, COUNT(*) FROM orders GROUP BY status"))
        (tasks,) = conn.execute("SELECT COUNT(*) FROM tasks").fetchone()
    return {"placed": 0, **counts, "tasks": tasks}
