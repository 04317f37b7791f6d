import asyncio

import pytest

from bookstore import orders
from bookstore.database.engine import transaction
from bookstore.idempotency import Key, claim
from bookstore.orders import processing
from bookstore.orders.states import State
from bookstore.users.permissions import Role
from tests.factories import NOON, Trace
from tests.web.conftest import PASSWORD
from tests.web.store.checkout_form import GUEST, button
from tests.web.store.pages import OWN, Browser
from web.server.keys import ENGINE

ACCOUNT = {"email": "new@example.com", "password": PASSWORD, "name": "Mira"}


@pytest.fixture
async def ordered(browser, dune):
    """A browser that shows the order that its guest has just placed."""
    await browser.go(f"/books/{dune.id}")
    await browser.press("Add to cart")
    await browser.go("/checkout")
    return await browser.press(button(browser), **GUEST)


@pytest.fixture
def work(server, ordered):
    """Returns a function that processes the order and then moves it to the given states."""
    number = ordered.path.split("/")[2].split("?")[0]

    async def work(*states):
        async with transaction(server.app[ENGINE]) as conn:
            order = await orders.get(conn, number)
            await processing.process(conn, [order.id], trace=Trace(), now=NOON)
            for state in states:
                await orders.move(conn, number, state, actor="staff", tracking="JD 0001", now=NOON)

    return work


async def test_the_title_shows_the_state(ordered, work):
    await work()
    assert (await ordered.go(ordered.path)).title == "Your order is confirmed"
    await work(State.PACKED)
    assert (await ordered.go(ordered.path)).title == "Your order is packed"
    assert "Cancel order…" not in ordered.text
    await work(State.SHIPPED)
    assert (await ordered.go(ordered.path)).title == "Your order has been shipped"
    assert "Tracking number JD 0001" in ordered.text
    await work(State.DELIVERED)
    assert (await ordered.go(ordered.path)).title == "Your order has been delivered"
    assert " data-over" in ordered.html


async def test_a_step_on_another_day_shows_its_date(ordered, work):
    await work()

    await ordered.go(ordered.path)

    assert f"21 March 2026, {NOON.astimezone():%H:%M}" in ordered.text


async def test_an_order_is_cancelled_by_its_guest(ordered, work):
    await work()
    await ordered.go(ordered.path)

    await ordered.press("Cancel order", reason="Found it <i>at home</i>")

    assert ordered.title == "This order is cancelled"
    assert "Found it <i>at home</i>" in ordered.text
    await ordered.press("Add the books to your cart again")
    assert "Dune was added to your cart." in ordered.text


async def test_ordering_again_twice_from_one_page_fills_the_cart_once(ordered):
    form = ordered.form("Order again")
    first = await ordered.client.post(form.action, data=form.fields, headers=OWN)
    once = await first.text()

    await ordered.press("Order again")

    assert "Dune was added to your cart." in once
    assert "nothing was added again" in ordered.text
    cart = await (await ordered.client.get("/api/v1/cart")).json()
    assert cart["item_count"] == 1


async def test_ordering_again_five_times_at_once_fills_the_cart_once(ordered):
    form = ordered.form("Order again")

    answers = await asyncio.gather(
        *(ordered.client.post(form.action, data=form.fields, headers=OWN) for _ in range(5))
    )

    assert {answer.status for answer in answers} == {200}
    cart = await (await ordered.client.get("/api/v1/cart")).json()
    assert cart["item_count"] == 1


class TestTwoProcesses:
    @pytest.fixture
    def database_url(self, request):
        """MariaDB: a second writer waits for a row, not for the whole transaction of the first."""
        conn = request.getfixturevalue("mariadb_database")
        mariadb = request.getfixturevalue("mariadb")
        mariadb.empty(conn)
        return mariadb.url(conn.db.decode())

    async def test_ordering_again_during_the_first_request_shows_a_notice(self, ordered, server):
        await ordered.client.post("/api/v1/users", json=ACCOUNT)
        user_id = (await (await ordered.client.get("/api/v1/users/me")).json())["id"]
        order = ordered.path
        form = (await ordered.go(order)).form("Order again")
        async with transaction(server.app[ENGINE]) as conn:
            key = Key(f"user:{user_id} /orders/{{number}}/reorder", form.fields["key"])
            await claim(conn, key, "-", now=NOON)

            await ordered.press("Order again")

        assert (ordered.status, ordered.path) == (200, "/cart")
        assert "being added to your cart" in ordered.text
        await ordered.go(order)
        await ordered.press("Order again")
        assert "Dune was added to your cart." in ordered.text


async def test_ordering_again_from_a_new_page_adds_more(ordered):
    order = ordered.path
    await ordered.press("Order again")
    await ordered.go(order)
    await ordered.press("Order again")

    assert (await (await ordered.client.get("/api/v1/cart")).json())["item_count"] == 2


async def test_a_packed_order_cannot_be_cancelled(ordered, work):
    await work()
    await ordered.go(ordered.path)
    await work(State.PACKED)

    await ordered.press("Cancel order")

    assert ordered.title == "Your order is packed"
    assert "This order can no longer be cancelled here. Its status: Packed." in ordered.text


async def test_an_order_requires_its_token_or_staff_permissions(ordered, visitor):
    number, token = ordered.path.removeprefix("/orders/").split("?access_token=")
    stranger, staff = Browser(await visitor()), Browser(await visitor(Role.CLERK))

    assert (await stranger.go(f"/orders/{number}")).status == 404
    assert (await stranger.go(f"/orders/{number}?access_token={token[:-1]}x")).status == 404
    assert (await stranger.go(f"/orders/{number}?access_token=%C3%A9")).status == 404
    assert (await stranger.go(f"/orders/{number}?access_token={token}")).status == 200
    assert (await staff.go(f"/orders/{number}")).status == 200


async def test_the_order_page_is_never_cached(ordered):
    answer = await ordered.client.get(ordered.path)

    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
