"""From the first order of a guest to an account with all orders, with scripts and without."""

import asyncio
import re
from email import message_from_bytes, policy

import pytest
from playwright.async_api import expect

from tests.browser.ordering import move_on, order, put_two_books_into_the_cart
from tests.e2e.programs import ADMIN

EMAIL = "mira@example.com"
PATIENCE_MS = 100


async def see(page, sentence, *, scripts):
    """Wait until the order's page shows this, by live update or by reloading."""
    title = page.get_by_role("heading", level=1)
    for _ in range(0 if scripts else 100):
        if await title.inner_text() == sentence:
            break
        await page.wait_for_timeout(PATIENCE_MS)
        await page.get_by_role("link", name="Refresh").click()
    await expect(title).to_have_text(sentence)


async def link_in_email(store, address, pattern):
    """The first link of this kind in an e-mail to the address."""
    for _ in range(100):
        for path in store.mail.glob("*.eml"):
            message = message_from_bytes(path.read_bytes(), policy=policy.default)
            if message["To"].addresses[0].addr_spec == address:
                found = re.search(pattern, message.get_body(("plain",)).get_content())
                if found:
                    return found[0]
        await asyncio.sleep(0.1)
    raise AssertionError(f"no e-mail to {address} has {pattern}")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_guest_buys_cancels_registers_and_finds_it_all_again(visit, store, scripts):
    email = f"{'with' if scripts else 'without'}-{EMAIL}"
    async with visit(java_script_enabled=scripts) as page, visit() as staff:
        await staff.request.post("/api/v1/session", data=ADMIN)
        await put_two_books_into_the_cart(page)
        kept = await order(page, email=email)
        await see(page, "Your order is confirmed", scripts=scripts)
        await move_on(staff, kept, to="packed")
        await move_on(staff, kept, to="shipped", tracking="JD0001")
        await see(page, "Your order has been shipped", scripts=scripts)

        await put_two_books_into_the_cart(page)
        given_up = await order(page, email=email)
        await see(page, "Your order is confirmed", scripts=scripts)
        await page.get_by_text("Cancel order…").click()
        await page.get_by_role("button", name="Cancel order").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("This order is cancelled")

        await page.goto("/books/9")
        await page.get_by_role("button", name="Add to cart").click()
        await page.goto("/register?next=/cart")
        await page.get_by_label("Name", exact=True).fill("Mira")
        await page.get_by_label("E-mail").fill(email)
        await page.get_by_label("Password").fill("nine tall ships")
        await page.get_by_role("button", name="Create account").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Your cart")
        await expect(page.locator(".lines > li")).to_have_count(1)

        await page.goto(await link_in_email(store, email, r"http\S+/verify-email/\S+"))
        await page.get_by_role("main").get_by_role("button").click()
        await page.goto("/orders")

        for number in (kept, given_up):
            await expect(page.get_by_role("link", name=number)).to_be_visible()


async def test_two_tabs_order_one_cart_once(visit, complaints):
    async with visit() as first:
        await put_two_books_into_the_cart(first)
        second = await first.context.new_page()
        await first.goto("/checkout")
        await second.goto("/books/9")
        await second.get_by_role("button", name="Add to cart").click()

        await fill(first)
        await first.get_by_role("button", name=re.compile("Order and pay")).click()
        await expect(first.get_by_role("alert").first).to_contain_text("Your total is now")
        # A changed price is a 409, which browsers log.
        assert "409" in complaints.pop()
        await first.get_by_role("button", name=re.compile("Order and pay")).click()
        await first.wait_for_url("**/orders/*")
        await second.goto("/checkout")

        await expect(second.get_by_role("heading", level=1)).to_have_text("Your cart is empty")
        await second.goto("/orders")
        await expect(second.locator("tbody tr")).to_have_count(1)


async def test_back_and_once_more_orders_once(visit):
    async with visit() as page:
        await put_two_books_into_the_cart(page)
        await page.goto("/checkout")
        await fill(page)
        await page.get_by_role("button", name=re.compile("Order and pay")).click()
        await page.wait_for_url("**/orders/*")

        await page.go_back()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Your cart is empty")

        await page.goto("/orders")
        await expect(page.locator("tbody tr")).to_have_count(1)


async def test_a_form_sent_fifty_times_at_once_is_one_order(visit):
    async with visit() as page:
        await put_two_books_into_the_cart(page)
        await page.goto("/checkout")
        await fill(page)
        form = await page.evaluate(
            "Object.fromEntries(new FormData(document.querySelector('form.split')))"
        )
        headers = {"Sec-Fetch-Site": "same-origin"}

        answers = await asyncio.gather(
            *(page.request.post("/checkout", form=form, headers=headers) for _ in range(50))
        )

        # Requests during the first one are answered "please try again".
        assert {answer.status for answer in answers} <= {200, 409}
        led_to = {answer.url for answer in answers if "/orders/" in answer.url}
        assert len(led_to) == 1
        await page.goto("/orders")
        await expect(page.locator("tbody tr")).to_have_count(1)


async def test_typing_brings_suggestions_that_keys_reach(visit):
    async with visit() as page:
        await page.goto("/sign-in")
        await page.get_by_role("searchbox").press_sequentially("drac", delay=20)
        await expect(page.locator("[data-suggested] a").first).to_contain_text("Dracula")

        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("heading", level=1)).to_have_text("Dracula")


async def fill(page):
    for name, text in {
        "email": "zoe@example.com",
        "name": "Zoe",
        "line1": "Quay 1",
        "postcode": "20457",
        "city": "Hamburg",
    }.items():
        await page.locator(f"[name={name}]").fill(text)
    await page.locator("[name=country]").select_option("DE")
