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
from tests.web.store.pages import OWN, Browser
from tests.web.store.test_checkout import GUEST, button
from web.server.keys import ENGINE

ACCOUNT = {"email": "new@example.com", "password": PASSWORD, "name": "Mira"}


@pytest.fixture
async def ordered(browser, dune):
    """A browser that shows the order which its guest has just placed."""
    await browser.go(f"/books/{dune.id}")
    await browser.press("Put in cart")
    await browser.go("/checkout")
    return await browser.press(button(browser), **GUEST)


@pytest.fixture
def work(server, ordered):
    """Lets the order service, and then staff, do their work."""
    number = ordered.path.split("/")[2].split("?")[0]

    async def work(*states):
        async with transaction(server.app[ENGINE]) as conn:
            order = await orders.get(conn, number)
            await processing.process(conn, [order.id], trace=Trace(), now=NOON)
            for state in states:
                await orders.move(conn, number, state, actor="staff", tracking="JD 0001", now=NOON)

    return work


async def test_each_state_is_a_sentence(ordered, work):
    await work()
    assert (await ordered.go(ordered.path)).title == "Your books are set aside"
    await work(State.PACKED)
    assert (await ordered.go(ordered.path)).title == "Your books are packed"
    assert "Cancel order…" not in ordered.text
    await work(State.SHIPPED)
    assert (await ordered.go(ordered.path)).title == "Your parcel is on its way"
    assert "Tracking number JD 0001" in ordered.text
    await work(State.DELIVERED)
    assert (await ordered.go(ordered.path)).title == "Your books have arrived"
    assert " data-over" in ordered.html


async def test_a_step_of_another_day_shows_its_date(ordered, work):
    await work()

    await ordered.go(ordered.path)

    assert f"21 March 2026, {NOON.astimezone():%H:%M}" in ordered.text


async def test_an_order_is_cancelled_by_its_guest(ordered, work):
    await work()
    await ordered.go(ordered.path)

    await ordered.press("Cancel the order", reason="Found it <i>at home</i>")

    assert ordered.title == "This order is cancelled"
    assert "Found it <i>at home</i>" in ordered.text
    await ordered.press("Put the books back in your cart")
    assert "Dune was added." in ordered.text


async def test_ordering_again_twice_from_one_page_fills_the_cart_once(ordered):
    form = ordered.form("Order again")
    first = await ordered.client.post(form.action, data=form.fields, headers=OWN)
    once = await first.text()

    await ordered.press("Order again")

    assert "Dune was added." in once
    assert "nothing was added a second time" in ordered.text
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
        """One where a second writer waits for a row of the first, and not for its whole work."""
        conn = request.getfixturevalue("mariadb_database")
        mariadb = request.getfixturevalue("mariadb")
        mariadb.empty(conn)
        return mariadb.url(conn.db.decode())

    async def test_ordering_again_while_the_first_press_is_at_work_is_told_calmly(
        self, ordered, server
    ):
        await ordered.client.post("/api/v1/users", json=ACCOUNT)
        user_id = (await (await ordered.client.get("/api/v1/users/me")).json())["id"]
        order = ordered.path
        form = (await ordered.go(order)).form("Order again")
        async with transaction(server.app[ENGINE]) as conn:
            key = Key(f"user:{user_id} /orders/{{number}}/reorder", form.fields["key"])
            await claim(conn, key, "-", now=NOON)

            await ordered.press("Order again")

        assert (ordered.status, ordered.path) == (200, "/cart")
        assert "on their way into your cart" in ordered.text
        await ordered.go(order)
        await ordered.press("Order again")
        assert "Dune was added." in ordered.text


async def test_ordering_again_from_a_new_page_adds_more(ordered):
    order = ordered.path
    await ordered.press("Order again")
    await ordered.go(order)
    await ordered.press("Order again")

    assert (await (await ordered.client.get("/api/v1/cart")).json())["item_count"] == 2


async def test_it_may_be_too_late_to_cancel(ordered, work):
    await work()
    await ordered.go(ordered.path)
    await work(State.PACKED)

    await ordered.press("Cancel the order")

    assert ordered.title == "Your books are packed"
    assert "This order cannot be cancelled here any more. It stands as: Packed." in ordered.text


async def test_an_order_opens_for_those_whom_it_concerns(ordered, visitor):
    number, token = ordered.path.removeprefix("/orders/").split("?access_token=")
    stranger, staff = Browser(await visitor()), Browser(await visitor(Role.CLERK))

    assert (await stranger.go(f"/orders/{number}")).status == 404
    assert (await stranger.go(f"/orders/{number}?access_token={token[:-1]}x")).status == 404
    assert (await stranger.go(f"/orders/{number}?access_token=%C3%A9")).status == 404
    assert (await stranger.go(f"/orders/{number}?access_token={token}")).status == 200
    assert (await staff.go(f"/orders/{number}")).status == 200


async def test_an_order_is_kept_by_no_cache(ordered):
    answer = await ordered.client.get(ordered.path)

    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers
