"""Values that a newer release has stored: pages show them as unknown and never fail."""

import pytest
from sqlalchemy import func, select, update

from bookstore import orders as order_service
from bookstore.database import tables as t
from bookstore.database.engine import transaction
from bookstore.notifications import notifications
from bookstore.orders import processing
from bookstore.users.permissions import Role
from tests.factories import NOON, Trace
from tests.web.store.checkout_form import GUEST, HOME, button
from tests.web.store.pages import OWN, Browser
from web.server.keys import ENGINE

#: A value that only a newer release knows.
NEWER = "from-tomorrow"
ORDER_COLUMNS = [t.orders.c.status, t.orders.c.payment_status, t.order_events.c.kind]
MIRA = "mira@example.com"


@pytest.fixture(params=["guest", "user"])
async def customer(request, browser, visitor):
    """A guest's browser, and one of a user who is signed in."""
    return browser if request.param == "guest" else Browser(await visitor(Role.CUSTOMER, MIRA))


@pytest.fixture
async def ordered(customer, dune, server):
    """The customer's browser on the page of a confirmed order."""
    await customer.go(f"/books/{dune.id}")
    await customer.press("Add to cart")
    await customer.go("/checkout")
    is_guest = "email" in customer.form(button(customer)).names
    await customer.press(button(customer), **(GUEST if is_guest else HOME))
    async with transaction(server.app[ENGINE]) as conn:
        order = await order_service.get(conn, customer.path.split("/")[2].split("?")[0])
        await processing.process(conn, [order.id], trace=Trace(), now=NOON)
    return await customer.go(customer.path)


@pytest.fixture
def store_unknown(server):
    """Returns a function that writes the unknown value to the newest row of a column's table."""

    async def store(column):
        table = column.table
        key = next(iter(table.primary_key))
        async with transaction(server.app[ENGINE]) as conn:
            row_id = await conn.scalar(select(func.max(key)))
            await conn.execute(update(table).where(key == row_id).values({column.name: NEWER}))

    return store


@pytest.mark.parametrize("column", ORDER_COLUMNS, ids=lambda column: column.name)
async def test_the_order_page_shows_an_unknown_value(ordered, store_unknown, column):
    await store_unknown(column)

    await ordered.go(ordered.path)

    assert ordered.status == 200
    assert "Unknown status" in ordered.text
    assert NEWER not in ordered.text
    assert "Dune" in ordered.page.links


@pytest.mark.parametrize("column", ORDER_COLUMNS, ids=lambda column: column.name)
async def test_the_order_list_shows_every_order(ordered, store_unknown, column):
    number = ordered.path.split("/")[2].split("?")[0]
    await store_unknown(column)

    await ordered.go("/orders")

    assert (ordered.status, number in ordered.page.links) == (200, True)
    assert ("Unknown status" in ordered.text) == (column is t.orders.c.status)


async def test_an_unknown_status_is_not_final(ordered, store_unknown):
    await store_unknown(t.orders.c.status)

    await ordered.go(ordered.path)

    assert ordered.title == "Unknown status"
    assert " data-over" not in ordered.html
    assert "Cancel order" not in {name for form in ordered.page.forms for name in form.buttons}


async def test_an_order_with_an_unknown_status_can_be_ordered_again(ordered, store_unknown):
    await store_unknown(t.orders.c.status)
    await ordered.go(ordered.path)

    await ordered.press("Order again")

    assert (ordered.status, ordered.path) == (200, "/cart")
    assert "Dune was added to your cart." in ordered.text


async def test_an_order_with_an_unknown_status_is_not_cancelled(ordered, store_unknown):
    path = ordered.path
    form = ordered.form("Cancel order")
    await store_unknown(t.orders.c.status)

    await ordered.client.post(form.action, data=form.fields, headers=OWN)
    await ordered.go(path)

    assert (ordered.status, ordered.title) == (200, "Unknown status")


async def test_the_checkout_after_an_order_with_unknown_values(ordered, dune, store_unknown):
    for column in ORDER_COLUMNS:
        await store_unknown(column)
    await ordered.go(f"/books/{dune.id}")
    await ordered.press("Add to cart")

    await ordered.go("/checkout")

    assert ordered.form(button(ordered)).fields["line1"] == HOME["line1"]


async def test_unknown_values_are_translated(ordered, store_unknown):
    await store_unknown(t.orders.c.status)
    path = ordered.path
    await ordered.press("Deutsch")

    assert (await ordered.go(path)).title == "Unbekannter Status"
    assert "Unbekannter Status" in (await ordered.go("/orders")).text


@pytest.mark.parametrize("column", [t.notifications.c.kind, t.notifications.c.status])
async def test_the_notifications_show_an_unknown_value(visitor, server, store_unknown, column):
    mira = Browser(await visitor(Role.CUSTOMER, MIRA))
    async with transaction(server.app[ENGINE]) as conn:
        user_id = await conn.scalar(select(t.users.c.id).where(t.users.c.email == MIRA))
        for subject in ("First", "Second"):
            await notifications.write(conn, user_id, subject, "Hello", by=None, now=NOON)
    await store_unknown(column)

    await mira.go("/account/notifications")

    assert (mira.status, "First" in mira.text) == (200, True)
    assert ("Unknown status" in mira.text) == (column is t.notifications.c.kind)
    await mira.press("Mark as read")
    assert mira.path == "/account/notifications"


async def test_a_user_with_an_unknown_order_sees_every_account_page(visitor, dune, store_unknown):
    mira = Browser(await visitor(Role.CUSTOMER, MIRA))
    await mira.go(f"/books/{dune.id}")
    await mira.press("Add to cart")
    await mira.go("/checkout")
    await mira.press(button(mira), **HOME)
    for column in (*ORDER_COLUMNS, t.notifications.c.kind, t.notifications.c.status):
        await store_unknown(column)

    for path in ("/", "/account", "/account/notifications", "/account/emails", "/account/data"):
        assert (await mira.go(path)).status == 200
