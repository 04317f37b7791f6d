import asyncio
import re
from dataclasses import replace

import pytest
from sqlalchemy import func, select, update

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import book_stock, books, orders
from bookstore.users.permissions import Role
from config.settings import ShippingRate
from tests.web.store.checkout_form import GUEST, HOME, button
from tests.web.store.pages import OWN, Browser
from web.server.keys import ENGINE


@pytest.fixture
def count_orders(server):
    async def count():
        async with reading(server.app[ENGINE]) as conn:
            return await conn.scalar(select(func.count()).select_from(orders))

    return count


@pytest.fixture
async def filled(browser, dune):
    """A browser with one book in the cart."""
    await browser.go(f"/books/{dune.id}")
    return await browser.press("Add to cart")


async def test_a_guest_buys_without_scripts(browser, dune, new_book, count_orders):
    emma = await new_book(title="Emma", price_cents=950)
    await browser.go(f"/books/{dune.id}")
    await browser.press("Increase quantity")
    assert browser.path == f"/books/{dune.id}?quantity=2"
    await browser.press("Add to cart")
    await browser.go(f"/books/{emma.id}")
    await browser.press("Add to cart")
    assert (browser.path, browser.title) == ("/cart", "Your cart")
    assert "3 items" in browser.text

    await browser.follow("Go to checkout")
    assert button(browser) == "Order and pay €38.20"
    await browser.press(button(browser), **GUEST, note="Ring\ntwice")

    assert browser.path.startswith("/orders/")
    assert browser.title == "We have received your order"
    for words in ("€38.20", "Große Elbstraße 9", "22767 Hamburg", "Germany", "Ring twice", "Emma"):
        assert words in browser.text
    assert await count_orders() == 1
    assert (await browser.go("/cart")).title == "Your cart is empty"
    await browser.go("/orders")
    assert len([link for link in browser.page.links.values() if "access_token=" in link]) == 1


async def test_a_double_click_places_one_order(filled, count_orders):
    await filled.go("/checkout")
    sent = filled.form(button(filled)).fields | GUEST

    answers = await asyncio.gather(
        *(
            filled.client.post("/checkout", data=sent, headers=OWN, allow_redirects=False)
            for _ in range(5)
        )
    )

    assert {answer.status for answer in answers} == {303}
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert await count_orders() == 1


async def test_a_resubmitted_form_with_changes_leads_to_the_first_order(filled, count_orders):
    await filled.go("/checkout")
    sent = filled.form(button(filled)).fields | GUEST
    await filled.client.post("/checkout", data=sent, headers=OWN)

    answer = await filled.client.post("/checkout", data=sent | {"city": "Bremen"}, headers=OWN)

    assert "nothing was ordered again" in await answer.text()
    assert await count_orders() == 1


async def test_errors_keep_the_input_and_link_to_the_fields(filled, count_orders):
    await filled.go("/checkout")
    key = filled.form(button(filled)).fields["key"]

    typed = GUEST | {"email": "mira.example.com", "postcode": "", "note": '"<b>two\nlines'}
    await filled.press(button(filled), **typed)

    assert filled.status == 422
    assert "Please check 2 fields" in filled.text
    assert {"#field-email", "#field-postcode"} <= set(filled.page.links.values())
    fields = filled.form(button(filled)).fields
    assert {name: fields[name] for name in typed} == typed
    assert fields["key"] == key
    await filled.press(button(filled), email="mira@example.com", postcode="22767")
    assert filled.title == "We have received your order"
    assert await count_orders() == 1


async def test_a_changed_price_needs_confirmation(filled, server, dune, count_orders):
    await filled.go("/checkout")
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(books).where(books.c.id == dune.id).values(price_cents=1390))

    await filled.press("Order and pay €15.80", **GUEST)

    assert filled.status == 409
    assert "has changed from €12.90 to €13.90" in filled.text
    assert "Your total is now €16.80. Order at this price?" in filled.text
    assert filled.form(button(filled)).fields["city"] == "Hamburg"
    assert await count_orders() == 0
    await filled.press("Order and pay €16.80")
    assert filled.title == "We have received your order"


async def test_a_line_without_enough_stock_is_corrected_in_the_cart(filled, server, dune):
    await filled.press("Increase quantity")
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(
            update(book_stock).where(book_stock.c.book_id == dune.id).values(stock=1)
        )

    await filled.go("/checkout")

    assert filled.path == "/cart"
    assert "You chose 2, but only 1 are in stock." in filled.text
    await filled.press("Change quantity to 1")
    assert "1 × €12.90" in filled.text
    assert (await filled.follow("Go to checkout")).title == "Checkout"


async def test_quantities_are_changed_and_lines_removed(filled, dune):
    await filled.press("Increase quantity")
    assert "2 × €12.90" in filled.text
    await filled.press("Update", quantity="4")
    assert "€51.60" in filled.text
    await filled.press("Increase quantity")
    await filled.press("Increase quantity")
    assert "Only 5 of this book are in stock." in filled.text

    await filled.press("Remove")

    assert filled.title == "Your cart is empty"


async def test_fields_have_autocomplete_tokens(filled):
    assert "Shipping €2.90" in filled.text  # The home rate, before a country is selected.
    await filled.go("/checkout")

    known = {
        "email": "email",
        "name": "name",
        "line1": "address-line1",
        "line2": "address-line2",
        "postcode": "postal-code",
        "city": "address-level2",
        "country": "country",
    }
    tags = {tag: re.findall(rf"<{tag} [^>]*>", filled.html) for tag in ("input", "select")}
    for name, token in known.items():
        [field] = [it for found in tags.values() for it in found if f' name="{name}"' in it]
        assert f'autocomplete="{token}"' in field


async def test_the_last_address_of_a_user_is_prefilled(visitor, dune):
    browser = Browser(await visitor(Role.CUSTOMER, "mira@example.com"))
    await browser.go(f"/books/{dune.id}")
    await browser.press("Add to cart")
    await browser.go("/checkout")
    await browser.press(button(browser), **HOME)
    assert "access_token" not in browser.path
    await browser.press("Order again")
    assert "Dune was added to your cart." in browser.text

    await browser.go("/checkout")

    assert browser.form(button(browser)).fields["line1"] == "Große Elbstraße 9"
    await browser.press(button(browser))
    assert browser.title == "We have received your order"


async def test_an_empty_cart_has_no_checkout(browser):
    await browser.go("/checkout")

    assert (browser.path, browser.title) == ("/cart", "Your cart is empty")


@pytest.mark.parametrize("body", [b"name=\xff", b"name=%ff%00", b"book_id=x", b""])
async def test_malformed_forms_never_cause_a_server_error(filled, body):
    headers = OWN | {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/checkout", "/cart", "/cart/1", "/sign-in", "/register", "/theme"):
        answer = await filled.client.post(path, data=body, headers=headers)

        assert answer.status < 500


async def test_forms_from_other_sites_are_refused(filled, count_orders):
    answer = await filled.client.post(
        "/checkout", data=GUEST, headers={"Origin": "https://evil.example"}
    )

    assert answer.status == 403
    assert "another site" in await answer.text()
    assert await count_orders() == 0


class TestAbroad:
    @pytest.fixture
    def settings(self, settings):
        """A store with higher shipping rates for Austria that does not ship to Cuba."""
        return replace(settings, countries={"AT": ShippingRate(490, 6000, 1000), "CU": None})

    async def test_another_shipping_rate_needs_confirmation(self, filled, count_orders):
        await filled.go("/checkout")
        assert button(filled) == "Order and pay €15.80"

        await filled.press(
            button(filled), **GUEST | {"country": "AT", "city": "Linz", "postcode": "4020"}
        )
        assert filled.status == 409
        assert "Shipping to Austria costs €4.90." in filled.text
        assert await count_orders() == 0
        assert filled.form(button(filled)).fields["city"] == "Linz"
        await filled.press("Order and pay €17.80")

        assert filled.title == "We have received your order"
        assert "€17.80" in filled.text

    async def test_a_country_without_shipping_is_not_offered(self, filled, count_orders):
        await filled.go("/checkout")
        assert "Cuba" not in filled.html

        await filled.press(button(filled), **GUEST | {"country": "CU"})

        assert filled.status == 409
        assert "We do not ship to this country" in filled.text
        assert await count_orders() == 0
