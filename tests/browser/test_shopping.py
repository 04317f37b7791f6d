"""A guest buys two books, with scripts and without."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.ordering import move_on, order, put_two_books_into_the_cart
from tests.e2e.programs import ADMIN


async def test_an_order_is_followed_live(visit):
    async with visit() as page, visit() as staff:
        await staff.request.post("/api/v1/session", data=ADMIN)
        await put_two_books_into_the_cart(page)
        number = await order(page)
        await page.evaluate("window.neverLeft = true")
        title = page.get_by_role("heading", level=1)

        await expect(title).to_have_text("Your order is confirmed")
        await expect(page.get_by_text("live, updated")).to_be_visible()
        await move_on(staff, number, to="packed")
        await expect(title).to_have_text("Your order is packed")
        await expect(page.locator("[data-announcement]")).to_have_text("Your order is packed")
        await expect(page.get_by_text("Cancel order…")).to_have_count(0)
        await move_on(staff, number, to="shipped", tracking="JD0001")
        await expect(page.get_by_text("Tracking number JD0001")).to_be_visible()
        await move_on(staff, number, to="delivered")
        await expect(title).to_have_text("Your order has been delivered")

        assert await page.evaluate("window.neverLeft")
        await expect(page.get_by_text("live, updated")).to_have_count(0)


async def test_without_scripts_it_takes_a_reload(visit):
    async with visit(java_script_enabled=False) as page:
        await put_two_books_into_the_cart(page)
        await order(page)

        for _ in range(50):
            if await page.get_by_role("heading", name="Your order is confirmed").count():
                break
            await page.get_by_role("link", name="Refresh").click()
            await page.wait_for_timeout(100)

        await expect(page.get_by_role("heading", level=1)).to_have_text("Your order is confirmed")


async def test_a_double_click_orders_once(visit):
    async with visit() as page:
        await put_two_books_into_the_cart(page)
        await page.goto("/checkout")
        for name, text in (("email", "zoe@example.com"), ("name", "Zoe"), ("line1", "Quay 1")):
            await page.locator(f"[name={name}]").fill(text)
        await page.locator("[name=postcode]").fill("20457")
        await page.locator("[name=city]").fill("Hamburg")
        await page.locator("[name=country]").select_option("DE")

        await page.get_by_role("button", name=re.compile("Order and pay €")).dblclick()
        # Not wait_for_url: the second click cancels the navigation of the first.
        await expect(page).to_have_url(re.compile(r"/orders/\w"))

        await page.goto("/orders")
        await expect(page.locator("tbody tr")).to_have_count(1)


async def test_the_quantity_changes_without_a_reload(visit):
    async with visit() as page:
        await page.goto("/books/7")
        await page.get_by_role("button", name="Increase quantity").click()
        await page.get_by_role("button", name="Increase quantity").click()
        await page.get_by_role("button", name="Decrease quantity").click()

        await expect(page.locator("[name=quantity]")).to_have_value("2")
        assert page.url.endswith("/books/7")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_the_cart_page_changes_the_cart(visit, scripts):
    async with visit(java_script_enabled=scripts) as page:
        await put_two_books_into_the_cart(page)
        plus = page.get_by_role("button", name="Increase quantity").first
        minus = page.get_by_role("button", name="Decrease quantity").first

        for _ in range(2):
            await plus.click()
        assert await cart_becomes(page, [3, 1])
        assert await page.locator("header .count").inner_text() == "4"
        await minus.click()
        cart = await cart_becomes(page, [2, 1])
        total = f"€{cart['total_cents'] / 100:.2f}"
        await expect(page.locator("aside")).to_contain_text(total)
        await page.locator("[name=quantity]").first.fill("5")
        await page.locator("[name=quantity]").first.press("Enter")
        await cart_becomes(page, [5, 1])
        await page.get_by_role("button", name="Remove").first.click()
        await cart_becomes(page, [1])
        await page.get_by_role("button", name="Decrease quantity").click()
        await cart_becomes(page, [])
        await expect(page.get_by_role("heading", level=1)).to_have_text("Your cart is empty")


async def test_the_cart_keeps_the_focus_and_the_page(visit):
    async with visit() as page:
        await put_two_books_into_the_cart(page)
        await page.evaluate("window.neverLeft = true")
        plus = page.get_by_role("button", name="Increase quantity").last
        await plus.focus()

        for quantity in (2, 3):
            await page.keyboard.press("Enter")
            await cart_becomes(page, [1, quantity])

        await expect(plus).to_be_focused()
        assert await page.evaluate("window.neverLeft")


async def cart_becomes(page, quantities):
    """The cart as the API returns it, once the server and the page have these quantities."""
    if quantities:
        await expect(page.locator("[name=quantity]").first).to_have_value(str(quantities[0]))
    for _ in range(100):
        cart = await (await page.request.get("/api/v1/cart")).json()
        if [item["quantity"] for item in cart["items"]] == quantities:
            await expect(page.locator("header .count")).to_have_text(str(sum(quantities)))
            return cart
        await page.wait_for_timeout(50)
    raise AssertionError(f"the cart has {cart['items']}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
async def test_no_page_scrolls_sideways(visit, width, scheme):
    async with visit(width=width, color_scheme=scheme) as page:
        await put_two_books_into_the_cart(page)
        for path in (
            "/",
            "/books?category=classics&price_to=20",
            "/books?q=dostoyevski+idiot",
            "/books/12",
            "/cart",
            "/checkout",
            "/orders",
            "/sign-in",
            "/register",
        ):
            await page.goto(path)
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, path
