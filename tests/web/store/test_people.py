"""Pages about a customer: addresses, letters, their data."""

import pytest
from sqlalchemy import select

from bookstore.database.engine import transaction
from bookstore.database.tables import users
from bookstore.notifications import notifications
from bookstore.users.permissions import Role
from tests.factories import NOON
from tests.web.conftest import PASSWORD
from tests.web.store.pages import OWN, Browser
from tests.web.store.test_checkout import button
from web.server.keys import ENGINE

HOME = {
    "name": "Mira Sørensen",
    "line1": "Große Elbstraße 9",
    "postcode": "22767",
    "city": "Hamburg",
    "country": "DE",
}
MIRA = "mira@example.com"


@pytest.fixture
async def mira(visitor):
    return Browser(await visitor(Role.CUSTOMER, MIRA))


async def add(browser, **change):
    await browser.go("/account/addresses")
    return await browser.press("Add the address", **HOME | change)


async def test_addresses_are_kept_changed_preferred_and_removed(mira):
    await mira.go("/account")
    await mira.follow("Your addresses")
    assert "There is none yet." in mira.text

    await add(mira)
    assert "Große Elbstraße 9, Hamburg is in the book." in mira.text
    await add(mira, line1="Kai 1")
    await mira.press("Fill in first")
    assert mira.text.index("Kai 1, 22767") < mira.text.index("Große Elbstraße 9, 22767")
    await mira.go(mira.page.links["Change"])
    assert (mira.title, mira.form("Save").fields["line1"]) == ("Change an address", "Kai 1")
    await mira.press("Save", line1="Kai 2")
    assert "Saved: Kai 2, Hamburg." in mira.text
    await mira.press("Remove")

    assert "That address is gone." in mira.text
    assert "Kai 2, 22767" not in mira.text


async def test_what_no_parcel_would_find_is_said_and_nothing_typed_is_lost(mira):
    await add(mira, postcode="", phone="040 1")

    assert mira.status == 422
    assert "#field-postcode" in mira.page.links.values()
    fields = mira.form("Add the address").fields
    assert (fields["line1"], fields["phone"]) == ("Große Elbstraße 9", "040 1")


async def test_somebody_elses_address_is_not_there(visitor, mira):
    await add(mira)
    path = mira.page.links["Change"]
    boris = Browser(await visitor(Role.CUSTOMER))

    assert (await boris.go(path)).status == 404
    assert (await boris.client.post(path, data={"remove": "yes"})).status == 404
    assert (await mira.go(path)).status == 200


async def test_the_checkout_fills_in_an_address_of_the_book(mira, dune):
    await add(mira)
    await add(mira, line1="Kai 1")
    await mira.go(f"/books/{dune.id}")
    await mira.press("Put in cart")

    await mira.go("/checkout")
    first = mira.form(button(mira)).fields["line1"]
    await mira.follow("Mira Sørensen, Kai 1, Hamburg")
    assert (first, mira.form(button(mira)).fields["line1"]) == ("Große Elbstraße 9", "Kai 1")
    await mira.press(button(mira))

    assert mira.title == "We have your order"
    assert "Kai 1" in mira.text


async def test_an_address_from_the_checkout_is_kept_once_if_that_is_wanted(mira, dune):
    async def order(**typed):
        await mira.go(f"/books/{dune.id}")
        await mira.press("Put in cart")
        await mira.go("/checkout")
        await mira.press(button(mira), **HOME | typed)
        assert mira.title == "We have your order"

    await order()
    assert "There is none yet." in (await mira.go("/account/addresses")).text
    await order(keep="yes")
    await order(keep="yes")

    await mira.go("/account/addresses")
    assert mira.text.count("Große Elbstraße 9, 22767 Hamburg, Germany") == 1


async def test_a_guest_is_not_asked_about_an_address_book(browser, dune):
    await browser.go(f"/books/{dune.id}")
    await browser.press("Put in cart")

    await browser.go("/checkout?address=1")

    assert "keep" not in browser.form(button(browser)).names


async def test_letters_that_are_not_essential_can_be_switched_off(mira):
    await mira.go("/account")
    await mira.follow("Which letters you want")
    form = mira.form("Save")
    assert set(form.fields) == {"email_when_delivered", "email_messages"}

    del form.fields["email_messages"]
    await mira.press("Save")

    assert "Saved." in mira.text
    assert set(mira.form("Save").fields) == {"email_when_delivered"}
    chosen = await (await mira.client.get("/api/v1/users/me/preferences")).json()
    assert chosen == {"email_when_delivered": True, "email_messages": False}


async def test_data_is_taken_away_and_erased(mira, browser):
    await add(mira)
    await mira.go("/account")
    await mira.follow("Your data: take it away, or have it erased")
    taken = await mira.client.get(mira.page.links["Download your data"])
    assert "Große Elbstraße 9" in await taken.text()

    await mira.press("Erase my data", password=PASSWORD)
    assert (mira.status, "Please tick this" in mira.text) == (422, True)
    await mira.press("Erase my data", password="wrong", sure="yes")
    assert (mira.status, "This is not your password." in mira.text) == (422, True)
    await mira.press("Erase my data", password=PASSWORD, sure="yes")

    assert mira.title == "Your data is erased"
    assert (await mira.go("/account")).path == "/sign-in?next=/account"
    await browser.go("/sign-in")
    await browser.press("Sign in", email=MIRA, password=PASSWORD)
    assert browser.status == 401


async def test_open_orders_are_named_before_anything_is_erased(mira, dune):
    await mira.go(f"/books/{dune.id}")
    await mira.press("Put in cart")
    await mira.go("/checkout")
    await mira.press(button(mira), **HOME)
    number = mira.path.removeprefix("/orders/")

    await mira.go("/account/data")
    await mira.press("Erase my data", password=PASSWORD, sure="yes")

    assert mira.status == 409
    assert mira.page.links[number] == f"/orders/{number}"
    assert (await mira.go("/account")).title == "Your account"


async def test_what_we_wrote_is_listed_and_marked_as_read(mira, visitor, server):
    await mira.go("/account/notifications")
    assert "Nothing yet." in mira.text
    async with transaction(server.app[ENGINE]) as conn:
        user_id = await conn.scalar(select(users.c.id).where(users.c.email == MIRA))
        for subject in ("First <b>", "Second"):
            await notifications.write(conn, user_id, subject, "Hello\nthere", by=None, now=NOON)
    boris = Browser(await visitor(Role.CUSTOMER))

    await mira.go("/account")
    await mira.follow("What we wrote to you")
    assert mira.text.index("Second") < mira.text.index("First <b>")
    form = mira.form("I have read it")
    stolen = await boris.client.post(form.action, headers=OWN)
    await mira.press("I have read it")

    assert stolen.status == 404
    assert mira.path == "/account/notifications"
    assert len([it for it in mira.page.forms if "I have read it" in it.buttons]) == 1
    assert (await mira.go("/account/notifications?cursor=nonsense")).status == 404
