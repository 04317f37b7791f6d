import asyncio
import re
from dataclasses import replace

import pytest
from sqlalchemy import func, select, update

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import book_stock, books, orders
from bookstore.users.permissions import Role
from config.settings import Delivery
from tests.web.store.pages import OWN, Browser
from web.server.keys import ENGINE

HOME = {
    "name": "Mira Sørensen",
    "line1": "Große Elbstraße 9",
    "postcode": "22767",
    "city": "Hamburg",
    "country": "DE",
}
GUEST = {"email": "mira@example.com", **HOME}


@pytest.fixture
def count_orders(server):
    async def count():
        async with reading(server.app[ENGINE]) as conn:
            return await conn.scalar(select(func.count()).select_from(orders))

    return count


@pytest.fixture
async def filled(browser, dune):
    """A browser with a book in its cart."""
    await browser.go(f"/books/{dune.id}")
    return await browser.press("Put in cart")


def button(browser):
    return next(
        name for form in browser.page.forms for name in form.buttons if name.startswith("Order and")
    )


async def test_a_guest_buys_with_forms_alone(browser, dune, stand, count_orders):
    emma = await stand(title="Emma", price_cents=950)
    await browser.go(f"/books/{dune.id}")
    await browser.press("One more")
    assert browser.path == f"/books/{dune.id}?copies=2"
    await browser.press("Put in cart")
    await browser.go(f"/books/{emma.id}")
    await browser.press("Put in cart")
    assert (browser.path, browser.title) == ("/cart", "Your cart")
    assert "3 copies of 2 books" in browser.text

    await browser.follow("To the checkout")
    assert button(browser) == "Order and pay €38.20"
    await browser.press(button(browser), **GUEST, note="Ring\ntwice")

    assert browser.path.startswith("/orders/")
    assert browser.title == "We have your order"
    for words in ("€38.20", "Große Elbstraße 9", "22767 Hamburg", "Germany", "Ring twice", "Emma"):
        assert words in browser.text
    assert await count_orders() == 1
    assert (await browser.go("/cart")).title == "Your cart is empty"
    await browser.go("/orders")
    assert len([link for link in browser.page.links.values() if "access_token=" in link]) == 1


async def test_a_double_click_makes_one_order(filled, count_orders):
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


async def test_a_form_that_was_changed_and_sent_again_leads_to_the_order(filled, count_orders):
    await filled.go("/checkout")
    sent = filled.form(button(filled)).fields | GUEST
    await filled.client.post("/checkout", data=sent, headers=OWN)

    answer = await filled.client.post("/checkout", data=sent | {"city": "Bremen"}, headers=OWN)

    assert "nothing was ordered a second time" in await answer.text()
    assert await count_orders() == 1


async def test_errors_keep_what_was_typed_and_say_where_they_are(filled, count_orders):
    await filled.go("/checkout")
    key = filled.form(button(filled)).fields["key"]

    typed = GUEST | {"email": "mira.example.com", "postcode": "", "note": '"<b>two\nlines'}
    await filled.press(button(filled), **typed)

    assert filled.status == 422
    assert "2 things are missing or wrong" in filled.text
    assert {"#field-email", "#field-postcode"} <= set(filled.page.links.values())
    kept = filled.form(button(filled)).fields
    assert {name: kept[name] for name in typed} == typed
    assert kept["key"] == key
    await filled.press(button(filled), email="mira@example.com", postcode="22767")
    assert filled.title == "We have your order"
    assert await count_orders() == 1


async def test_another_price_is_asked_for_first(filled, server, dune, count_orders):
    await filled.go("/checkout")
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(update(books).where(books.c.id == dune.id).values(price_cents=1390))

    await filled.press("Order and pay €15.80", **GUEST)

    assert filled.status == 409
    assert "went from €12.90 to €13.90" in filled.text
    assert "Your total is now €16.80. Order at this price?" in filled.text
    assert filled.form(button(filled)).fields["city"] == "Hamburg"
    assert await count_orders() == 0
    await filled.press("Order and pay €16.80")
    assert filled.title == "We have your order"


async def test_a_line_that_cannot_be_had_is_settled_in_the_cart(filled, server, dune):
    await filled.press("One more")
    async with transaction(server.app[ENGINE]) as conn:
        await conn.execute(
            update(book_stock).where(book_stock.c.book_id == dune.id).values(stock=1)
        )

    await filled.go("/checkout")

    assert filled.path == "/cart"
    assert "You asked for 2, we have 1." in filled.text
    await filled.press("Take 1")
    assert "1 × €12.90" in filled.text
    assert (await filled.follow("To the checkout")).title == "Checkout"


async def test_quantities_change_and_lines_go(filled, dune):
    await filled.press("One more")
    assert "2 × €12.90" in filled.text
    await filled.press("Set", quantity="4")
    assert "€51.60" in filled.text
    await filled.press("One more")
    await filled.press("One more")
    assert "Only 5 of this book are left." in filled.text

    await filled.press("Remove")

    assert filled.title == "Your cart is empty"


async def test_browsers_know_what_belongs_into_each_field(filled):
    assert "Delivery €2.90" in filled.text  # Before anybody has said where to.
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


async def test_a_user_is_asked_for_no_address_twice(visitor, dune):
    browser = Browser(await visitor(Role.CUSTOMER, "mira@example.com"))
    await browser.go(f"/books/{dune.id}")
    await browser.press("Put in cart")
    await browser.go("/checkout")
    await browser.press(button(browser), **HOME)
    assert "access_token" not in browser.path
    await browser.press("Order again")
    assert "Dune was added." in browser.text

    await browser.go("/checkout")

    assert browser.form(button(browser)).fields["line1"] == "Große Elbstraße 9"
    await browser.press(button(browser))
    assert browser.title == "We have your order"


async def test_an_empty_cart_has_no_checkout(browser):
    await browser.go("/checkout")

    assert (browser.path, browser.title) == ("/cart", "Your cart is empty")


@pytest.mark.parametrize("body", [b"name=\xff", b"name=%ff%00", b"book_id=x", b""])
async def test_no_form_makes_the_server_fail(filled, body):
    headers = OWN | {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/checkout", "/cart", "/cart/1", "/sign-in", "/register", "/theme"):
        answer = await filled.client.post(path, data=body, headers=headers)

        assert answer.status < 500


async def test_other_sites_cannot_send_our_forms(filled, count_orders):
    answer = await filled.client.post(
        "/checkout", data=GUEST, headers={"Origin": "https://evil.example"}
    )

    assert answer.status == 403
    assert "another site" in await answer.text()
    assert await count_orders() == 0


class TestAbroad:
    @pytest.fixture
    def settings(self, settings):
        """A store that sends to Austria for more, and to Cuba not at all."""
        return replace(settings, countries={"AT": Delivery(490, 6000, 1000), "CU": None})

    async def test_what_another_country_costs_is_asked_first(self, filled, count_orders):
        await filled.go("/checkout")
        assert button(filled) == "Order and pay €15.80"

        await filled.press(button(filled), **GUEST | {"country": "AT", "city": "Linz"})
        assert filled.status == 409
        assert "Delivery to Austria costs €4.90." in filled.text
        assert await count_orders() == 0
        assert filled.form(button(filled)).fields["city"] == "Linz"
        await filled.press("Order and pay €17.80")

        assert filled.title == "We have your order"
        assert "€17.80" in filled.text

    async def test_a_country_without_delivery_is_no_choice(self, filled, count_orders):
        await filled.go("/checkout")
        assert "Cuba" not in filled.html

        await filled.press(button(filled), **GUEST | {"country": "CU"})

        assert filled.status == 409
        assert "We send no parcels to this country" in filled.text
        assert await count_orders() == 0
