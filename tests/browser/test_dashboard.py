"""The dashboard, from sign-in to shipping; with scripts and without."""

import csv
import io
import re
import sqlite3
from contextlib import closing

import pyotp
import pytest
from playwright.async_api import Page, expect

from tests.e2e.programs import ADMIN

SCRIPTS = pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
LIST = """isbn,title,authors,price,stock
9780141439518,Pride and Prejudice,Jane Austen,7.90,5
9780141439519,A wrong check digit,Nobody,7.90,5
9780140449136,The Odyssey,Homer,on request,2
9780199232765,War and Peace,Leo Tolstoy,12.50,3
"""


def rows(store, query, *values):
    path = store.folder / "var" / "bookstore.db"
    with closing(sqlite3.connect(path, timeout=20)) as conn, conn:
        return conn.execute(query, values).fetchall()


async def sign_in(page: Page) -> None:
    """Sign in as an administrator through the API; sign-in on the page has its own test."""
    answer = await page.request.post("/api/v1/session", data=ADMIN)
    assert answer.ok


async def place_order(page: Page, store, books=(7, 12)) -> str:
    """Place the order of a guest and wait for its confirmation; returns its number."""
    for book in books:
        answer = await page.request.post(
            "/api/v1/cart/items", data={"book_id": book, "quantity": 1}
        )
        assert answer.ok, await answer.text()
    answer = await page.request.post(
        "/api/v1/orders",
        headers={"Idempotency-Key": f"browser-{len(rows(store, 'SELECT id FROM orders'))}"},
        data={
            "email": "mina@example.com",
            "shipping_address": {
                "name": "Mina Murray",
                "line1": "1 Crescent",
                "city": "Whitby",
                "postcode": "YO21 3EQ",
                "country": "GB",
            },
        },
    )
    assert answer.ok, await answer.text()
    number = (await answer.json())["number"]
    for _ in range(200):
        found = rows(store, "SELECT status FROM orders WHERE number = ?", number)
        if found[0][0] == "confirmed":
            return number
        await page.wait_for_timeout(50)
    raise AssertionError("the order was not confirmed")


@SCRIPTS
async def test_staff_sign_in_with_a_second_factor(visit, store, scripts):
    async with visit() as page:
        await sign_in(page)
        begun = await page.request.post("/api/v1/users/me/totp")
        secret = (await begun.json())["secret"]
        code = pyotp.TOTP(secret).now()
        on = await page.request.put("/api/v1/users/me/totp", data={"code": code})
        assert on.ok, await on.text()
    async with visit(java_script_enabled=scripts) as page:
        await page.goto("/admin/orders")
        await page.get_by_label("E-mail").fill(ADMIN["email"])
        await page.get_by_label("Password").fill(ADMIN["password"])
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/sign-in/code**")
        # A code can be used once, and the next one comes after 30 seconds.
        rows(store, "UPDATE users SET totp_step = totp_step - 2")
        await page.get_by_label("Code").fill(pyotp.TOTP(secret).now())
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Orders")
        gone = await page.request.delete(
            "/api/v1/users/me/totp", data={"password": ADMIN["password"]}
        )
        assert gone.ok, await gone.text()


@SCRIPTS
async def test_a_list_with_bad_rows_is_tried_imported_and_corrected(visit, store, scripts):
    async with visit(java_script_enabled=scripts) as page:
        await sign_in(page)
        await page.goto("/admin/imports")
        await page.get_by_label("File", exact=True).set_input_files(
            {"name": "autumn.csv", "mimeType": "text/csv", "buffer": LIST.encode()}
        )
        await page.get_by_role("button", name="Upload and check columns").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("autumn.csv")
        await expect(page.get_by_label("Isbn")).to_have_value("isbn")

        await page.get_by_role("button", name="Dry run").click()
        outcome = page.locator("[data-outcome]")
        await followed(page, outcome, scripts)
        await expect(outcome).to_contain_text("2 rejected. Nothing has changed yet.")
        await expect(page.get_by_text("check digit")).to_be_visible()

        await page.get_by_role("button", name="Import").click()
        await followed(page, outcome, scripts)
        await expect(outcome).to_contain_text("2 rejected. Done.")
        link = page.get_by_role("link", name="Download all 2 to correct them")
        answer = await page.request.get(await link.get_attribute("href"))
        refused = list(csv.DictReader(io.StringIO((await answer.body()).decode("utf-8-sig"))))
        assert [row["refused_column"] for row in refused] == ["isbn", "price"]
        assert refused[1]["title"] == "The Odyssey"


async def followed(page, outcome, scripts):
    """Wait for the end of the job: with scripts the page updates itself."""
    if not scripts:
        for _ in range(100):
            if await outcome.count():
                break
            await page.get_by_role("link", name="Refresh").click()
            await page.wait_for_timeout(100)
    await expect(outcome).to_be_visible()


async def test_ten_stocks_are_typed_without_a_mouse(visit, store):
    async with visit() as page:
        await sign_in(page)
        await page.goto("/admin/books?sort=title")
        await page.evaluate("window.neverLeft = true")
        await page.keyboard.press("j")
        await page.keyboard.press("e")
        labels = []
        for copies in range(41, 51):
            focused = page.locator(":focus")
            labels.append(await focused.get_attribute("aria-label"))
            await page.keyboard.type(str(copies))
            await page.keyboard.press("Enter")
            await expect(page.locator("[data-status]")).to_contain_text(
                f"{copies} in stock (count)"
            )

        assert len(set(labels)) == 10
        assert await page.evaluate("window.neverLeft")
        counted = rows(
            store, "SELECT delta FROM stock_movements WHERE reason = 'count' ORDER BY id DESC"
        )
        assert len(counted) >= 10
        found = rows(store, "SELECT stock FROM book_stock WHERE stock BETWEEN 41 AND 50")
        assert {stock for (stock,) in found} >= set(range(41, 51))


async def test_ten_stocks_are_typed_without_a_mouse_and_without_scripts(visit, store):
    async with visit(java_script_enabled=False) as page:
        await sign_in(page)
        await page.goto("/admin/books?sort=-title")
        for _ in range(100):
            await page.keyboard.press("Tab")
            if str(await page.locator(":focus").get_attribute("aria-label")).startswith("Stock of"):
                break
        labels = []
        for copies in range(61, 71):
            focused = page.locator(":focus")
            labels.append(await focused.get_attribute("aria-label"))
            await page.keyboard.press("Control+A")
            await page.keyboard.type(str(copies))
            await page.keyboard.press("Enter")
            # The next page has the focus in the next row.
            await expect(page.locator(".note.ok")).to_contain_text(f"{copies} in stock (count)")

        assert len(set(labels)) == 10
        found = rows(store, "SELECT stock FROM book_stock WHERE stock BETWEEN 61 AND 70")
        assert {stock for (stock,) in found} >= set(range(61, 71))


async def test_an_invalid_price_stays_in_its_row(visit, store, complaints):
    async with visit() as page:
        await sign_in(page)
        await page.goto("/admin/books?q=Dracula")
        field = page.get_by_label("Price of Dracula")
        await field.fill("dear")
        await field.press("Enter")

        await page.get_by_role("alert").get_by_role("link", name="Enter an amount").click()
        await expect(field).to_be_focused()
        await expect(field).to_have_value("dear")
        assert await page.locator(":focus").get_attribute("aria-invalid") == "true"
        # A refused form is a 422, which browsers log.
        assert complaints
        assert all("422" in said for said in complaints)
        complaints.clear()

        await page.goto(page.url)
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Books")


async def test_a_stock_that_changed_meanwhile_shows_both_numbers(visit, store):
    async with visit() as page:
        await sign_in(page)
        await page.goto("/admin/books?q=Dracula")
        field = page.get_by_label("Stock of Dracula")
        book = (await page.locator("tbody tr").first.get_attribute("id")).removeprefix("book-")
        seen = int(await field.input_value())
        moved = await page.request.post(
            f"/api/v1/books/{book}/stock-movements", data={"delta": 2, "reason": "received"}
        )
        assert moved.ok, await moved.text()

        await field.fill("99")
        await field.press("Enter")

        await expect(page.get_by_text(f"now {seen + 2}, before your edit {seen}")).to_be_visible()
        await expect(field).to_have_value("99")
        await page.get_by_role("button", name="set 99").click()
        await expect(field).to_have_value("99")
        assert rows(store, "SELECT stock FROM book_stock WHERE book_id = ?", book) == [(99,)]


@SCRIPTS
async def test_orders_are_packed_printed_and_shipped(visit, store, scripts):
    async with visit(java_script_enabled=scripts) as page:
        numbers = [await place_order(page, store), await place_order(page, store, (3,))]
        await sign_in(page)
        await page.goto("/admin/orders?status=confirmed")
        for number in numbers:
            await page.get_by_label(f"Select {number}").check()
        if scripts:
            await expect(page.locator("[data-selection]")).to_have_text("2 selected:")

        await page.get_by_role("button", name="Print packing slips").click()
        await expect(page.locator("article")).to_have_count(2)
        await expect(page.get_by_text("1 Crescent").first).to_be_visible()
        await page.get_by_role("link", name="Back to the list").click()
        for number in numbers:
            await page.get_by_label(f"Select {number}").check()
        await page.get_by_role("button", name="Mark as packed").click()
        await expect(page.get_by_text("2 orders are packed.")).to_be_visible()

        await page.goto(f"/admin/orders/{numbers[0]}")
        await page.get_by_label("Tracking number").fill("JD0007")
        await page.get_by_role("button", name="Mark as shipped").click()
        await expect(
            page.get_by_text("is shipped. The customer receives an e-mail.")
        ).to_be_visible()
        await page.get_by_label("Note", exact=True).fill("She asked for gift paper.")
        await page.get_by_role("button", name="Save note").click()
        log = page.locator(".log")
        for words in ("Placed", "Confirmed", "Packed", "Shipped", "Message received", "Stock −1"):
            await expect(log.get_by_text(words).first).to_be_visible()
        await expect(log.get_by_text("Note: She asked for gift paper.")).to_be_visible()


@SCRIPTS
async def test_an_email_is_read_and_sent_again(visit, store, scripts):
    async with visit(java_script_enabled=scripts) as page:
        number = await place_order(page, store)
        await sign_in(page)
        await page.goto(f"/admin/notifications?q={number}")
        await page.locator("tbody th a").first.click()
        email = page.frame_locator("iframe")
        await expect(email.get_by_text(number).first).to_be_visible()

        await page.locator("#email").get_by_role("button", name="Send again").click()

        await expect(
            page.get_by_text(re.compile("will be sent to mina@example.com again"))
        ).to_be_visible()
        for _ in range(100):
            sent = rows(
                store,
                "SELECT count(*) FROM notifications n JOIN orders o ON o.id = n.order_id"
                " WHERE o.number = ? AND n.status != 'sent'",
                number,
            )
            if sent == [(0,)]:
                break
            await page.wait_for_timeout(100)
        assert sent == [(0,)]
        await page.goto(f"/admin/orders/{number}")
        await expect(page.locator(".log").get_by_text("Resend: e-mail")).to_be_visible()


@SCRIPTS
async def test_a_dead_email_is_explained_and_tried_again(visit, store, scripts):
    async with visit(java_script_enabled=scripts) as page:
        number = await place_order(page, store)
        rows(
            store,
            "INSERT INTO tasks"
            " (task, ref_id, due_at, publish_count, attempts, error, dead_at, created_at)"
            " SELECT 'process_orders', id, placed_at, 3, 5, 'KeyError: weight', placed_at,"
            " placed_at FROM orders WHERE number = ?",
            number,
        )
        await sign_in(page)
        await page.goto(f"/admin/orders/{number}")
        await expect(page.get_by_role("alert")).to_contain_text("Dead after 5 attempts")
        await page.get_by_role("link", name="Show task").click()
        await expect(page.get_by_text("A program error.")).to_be_visible()

        await page.get_by_role("button", name="Retry", exact=True).click()

        await expect(page.get_by_text("will be retried")).to_be_visible()
        for _ in range(100):
            left = rows(store, "SELECT count(*) FROM tasks WHERE error = 'KeyError: weight'")
            if left == [(0,)] and not rows(store, "SELECT 1 FROM tasks WHERE dead_at IS NOT NULL"):
                break
            await page.wait_for_timeout(100)
        assert left == [(0,)]
        await page.goto(f"/admin/orders/{number}")
        await expect(page.locator(".log").get_by_text("Replay: dead task")).to_be_visible()


@SCRIPTS
async def test_prices_change_in_bulk_after_a_preview_and_back(visit, store, scripts):
    prices = "SELECT id, price_cents FROM books ORDER BY id"
    async with visit(java_script_enabled=scripts) as page:
        before = rows(store, prices)
        await sign_in(page)
        await page.goto("/admin/books?price_from=5&price_to=9")
        cheap = [cents for _, cents in before if 500 <= cents <= 900]
        await page.get_by_label("or all").check()
        await page.get_by_label("Price", exact=True).fill("+10%")
        await page.get_by_role("button", name="Preview new prices").click()
        await expect(page.get_by_text(f"{len(cheap)} books would change.")).to_be_visible()
        assert rows(store, prices) == before

        await page.get_by_role("button", name=f"Apply to all {len(cheap)}").click()
        await expect(page.get_by_text(f"{len(cheap)} books are changed.")).to_be_visible()
        after = dict(rows(store, prices))
        assert sum(after[book] != cents for book, cents in before) == len(cheap)

        await page.get_by_role("button", name="Undo this change").click()
        await expect(page.get_by_text(f"{len(cheap)} books are restored.")).to_be_visible()
        assert rows(store, prices) == before


async def test_keyboard_shortcuts_work_and_can_be_switched_off(visit, store):
    async with visit() as page:
        await sign_in(page)
        await page.goto("/admin")
        await page.keyboard.press("g")
        await page.keyboard.press("b")
        await page.wait_for_url("**/admin/books")
        await page.keyboard.press("j")
        await page.keyboard.press("x")
        await expect(page.locator("[data-selection]")).to_have_text("1 selected:")
        await page.keyboard.press("/")
        await expect(page.locator(".fascia [type=search]")).to_be_focused()
        await page.keyboard.type("go?")
        await expect(page.locator(".fascia [type=search]")).to_have_value("go?")
        await page.locator("main").focus()
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        await page.get_by_label("Enable keyboard shortcuts").uncheck()
        await page.get_by_role("button", name="Close").click()
        await page.keyboard.press("g")
        await page.keyboard.press("o")
        await page.reload()
        assert page.url.endswith("/admin/books")
        await expect(page.locator("[data-keys]")).to_be_hidden()
