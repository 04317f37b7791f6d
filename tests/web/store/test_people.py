"""Account pages: addresses, e-mail preferences, notifications and personal data."""

import pytest
from sqlalchemy import select

from bookstore.database.engine import transaction
from bookstore.database.tables import users
from bookstore.notifications import notifications
from bookstore.users.permissions import Role
from tests.factories import NOON
from tests.web.conftest import PASSWORD
from tests.web.store.checkout_form import HOME, button
from tests.web.store.pages import OWN, Browser
from web.server.keys import ENGINE

MIRA = "mira@example.com"


@pytest.fixture
async def mira(visitor):
    return Browser(await visitor(Role.CUSTOMER, MIRA))


async def add(browser, **change):
    await browser.go("/account/addresses")
    return await browser.press("Add address", **HOME | change)


async def test_addresses_are_added_edited_made_default_and_removed(mira):
    await mira.go("/account")
    await mira.follow("Your addresses")
    assert "You have no saved addresses yet." in mira.text

    await add(mira)
    assert "The address Große Elbstraße 9, Hamburg was added." in mira.text
    await add(mira, line1="Kai 1")
    await mira.press("Use as default")
    assert mira.text.index("Kai 1, 22767") < mira.text.index("Große Elbstraße 9, 22767")
    await mira.go(mira.page.links["Edit"])
    assert (mira.title, mira.form("Save").fields["line1"]) == ("Edit address", "Kai 1")
    await mira.press("Save", line1="Kai 2")
    assert "Saved: Kai 2, Hamburg." in mira.text
    await mira.press("Remove")

    assert "The address was removed." in mira.text
    assert "Kai 2, 22767" not in mira.text


async def test_an_incomplete_address_keeps_its_input(mira):
    await add(mira, postcode="", phone="040 1")

    assert mira.status == 422
    assert "#field-postcode" in mira.page.links.values()
    fields = mira.form("Add address").fields
    assert (fields["line1"], fields["phone"]) == ("Große Elbstraße 9", "040 1")


async def test_the_address_of_another_user_is_not_found(visitor, mira):
    await add(mira)
    path = mira.page.links["Edit"]
    boris = Browser(await visitor(Role.CUSTOMER))

    assert (await boris.go(path)).status == 404
    assert (await boris.client.post(path, data={"remove": "yes"})).status == 404
    assert (await mira.go(path)).status == 200


async def test_the_checkout_prefills_an_address_of_the_address_book(mira, dune):
    await add(mira)
    await add(mira, line1="Kai 1")
    await mira.go(f"/books/{dune.id}")
    await mira.press("Add to cart")

    await mira.go("/checkout")
    first = mira.form(button(mira)).fields["line1"]
    await mira.follow("Mira Sørensen, Kai 1, Hamburg")
    assert (first, mira.form(button(mira)).fields["line1"]) == ("Große Elbstraße 9", "Kai 1")
    await mira.press(button(mira))

    assert mira.title == "We have received your order"
    assert "Kai 1" in mira.text


async def test_an_address_from_the_checkout_is_saved_once_on_request(mira, dune):
    async def order(**typed):
        await mira.go(f"/books/{dune.id}")
        await mira.press("Add to cart")
        await mira.go("/checkout")
        await mira.press(button(mira), **HOME | typed)
        assert mira.title == "We have received your order"

    await order()
    assert "You have no saved addresses yet." in (await mira.go("/account/addresses")).text
    await order(keep="yes")
    await order(keep="yes")

    await mira.go("/account/addresses")
    assert mira.text.count("Große Elbstraße 9, 22767 Hamburg, Germany") == 1


async def test_guests_have_no_address_book(browser, dune):
    await browser.go(f"/books/{dune.id}")
    await browser.press("Add to cart")

    await browser.go("/checkout?address=1")

    assert "keep" not in browser.form(button(browser)).names


async def test_optional_emails_can_be_turned_off(mira):
    await mira.go("/account")
    await mira.follow("E-mail preferences")
    form = mira.form("Save")
    assert set(form.fields) == {"email_when_delivered", "email_messages"}

    del form.fields["email_messages"]
    await mira.press("Save")

    assert "Saved." in mira.text
    assert set(mira.form("Save").fields) == {"email_when_delivered"}
    chosen = await (await mira.client.get("/api/v1/users/me/preferences")).json()
    assert chosen == {"email_when_delivered": True, "email_messages": False}


async def test_personal_data_is_exported_and_erased(mira, browser):
    await add(mira)
    await mira.go("/account")
    await mira.follow("Your data: download or erase it")
    exported = await mira.client.get(mira.page.links["Download your data"])
    assert "Große Elbstraße 9" in await exported.text()

    await mira.press("Erase my data", password=PASSWORD)
    assert (mira.status, "Please tick this box" in mira.text) == (422, True)
    await mira.press("Erase my data", password="wrong", sure="yes")
    assert (mira.status, "This password is incorrect." in mira.text) == (422, True)
    await mira.press("Erase my data", password=PASSWORD, sure="yes")

    assert mira.title == "Your data is erased"
    assert (await mira.go("/account")).path == "/sign-in?next=/account"
    await browser.go("/sign-in")
    await browser.press("Sign in", email=MIRA, password=PASSWORD)
    assert browser.status == 401


async def test_open_orders_prevent_erasure_and_are_listed(mira, dune):
    await mira.go(f"/books/{dune.id}")
    await mira.press("Add to cart")
    await mira.go("/checkout")
    await mira.press(button(mira), **HOME)
    number = mira.path.removeprefix("/orders/")

    await mira.go("/account/data")
    await mira.press("Erase my data", password=PASSWORD, sure="yes")

    assert mira.status == 409
    assert mira.page.links[number] == f"/orders/{number}"
    assert (await mira.go("/account")).title == "Your account"


async def test_notifications_are_listed_and_marked_as_read(mira, visitor, server):
    await mira.go("/account/notifications")
    assert "No notifications yet." in mira.text
    async with transaction(server.app[ENGINE]) as conn:
        user_id = await conn.scalar(select(users.c.id).where(users.c.email == MIRA))
        for subject in ("First <b>", "Second"):
            await notifications.write(conn, user_id, subject, "Hello\nthere", by=None, now=NOON)
    boris = Browser(await visitor(Role.CUSTOMER))

    await mira.go("/account")
    await mira.follow("Notifications")
    assert mira.text.index("Second") < mira.text.index("First <b>")
    form = mira.form("Mark as read")
    foreign = await boris.client.post(form.action, headers=OWN)
    await mira.press("Mark as read")

    assert foreign.status == 404
    assert mira.path == "/account/notifications"
    assert len([it for it in mira.page.forms if "Mark as read" in it.buttons]) == 1
    assert (await mira.go("/account/notifications?cursor=nonsense")).status == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_old_path_of_the_email_preferences_redirects(mira, method):
    answer = await mira.client.request(
        method, "/account/letters", headers=OWN, allow_redirects=False
    )

    assert (answer.status, answer.headers["Location"]) == (308, "/account/emails")
