"""Orders that a guest places in a browser and staff change."""

import re

from playwright.async_api import expect


async def put_two_books_into_the_cart(page):
    for book in (7, 12):
        await page.goto(f"/books/{book}")
        await page.get_by_role("button", name="Add to cart").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Your cart")


async def order(page, email="mira@example.com"):
    await page.get_by_role("link", name="Go to checkout").click()
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Name", exact=True).fill("Mira Sørensen")
    await page.get_by_label("Street and number").fill("Große Elbstraße 9")
    await page.get_by_label("Postcode").fill("22767")
    await page.get_by_label("Town").fill("Hamburg")
    await page.get_by_label("Country").select_option("Germany")
    await page.get_by_role("button", name=re.compile("Order and pay €")).click()
    await page.wait_for_url("**/orders/*")
    return re.search(r"/orders/([^?]+)", page.url)[1]


async def move_on(staff, number, **change):
    answer = await staff.request.post(f"/api/v1/admin/orders/{number}/transitions", data=change)
    assert answer.ok
