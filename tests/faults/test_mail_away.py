"""The mail server refuses for now, dawdles, or hangs up in the middle of a letter."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from tests.faults.proxy import Proxy, Way
from tests.faults.store import ScaledOut, all_accepted
from tests.servers.process import wait_until

ORDERS = 10
#: Bytes of a letter's way to the mail server after which the link is cut: the greeting, the
#: envelope, DATA, the letter's beginning, middle and end.
CUTS = (0, 10, 40, 90, 130, 500, 2000, 6000)
#: Both letters of an order.
LETTERS = 2
DECIDED = "SELECT COUNT(*) FROM orders WHERE status = 'placed'"
BEING_SENT = "SELECT COUNT(*) FROM notifications WHERE status = 'sending'"


@pytest.fixture(scope="module")
def link():
    """The way to the mail server; its target is set once the sink is there."""
    with Proxy() as link:
        yield link


@pytest.fixture(scope="module")
def store(mariadb, rabbitmq, link, tmp_path_factory):
    settings = {"BOOKSTORE_SMTP_URL": f"smtp://127.0.0.1:{link.port}"}
    folder = tmp_path_factory.mktemp("mail")
    with ScaledOut(mariadb, rabbitmq, folder, "mail_away", settings) as store:
        link.target = store.sink.port
        store.start()
        yield store


@pytest.fixture(autouse=True)
def healthy(store, link):
    yield
    store.sink.answer, store.sink.hang_up, store.sink.delay_s = "250 2.0.0 OK", False, 0
    link.heal()


async def order(store, count):
    """So many orders; how long it took until all of them were decided."""
    async with AsyncExitStack() as stack:
        customers = await store.customers(stack, count)
        began = time.monotonic()
        await all_accepted(customers)
    await asyncio.to_thread(wait_until, lambda: not store.value(DECIDED), 30)
    return time.monotonic() - began


def wait_until_tried(store):
    """No letter is on its way, and none was not tried."""
    wait_until(
        lambda: (
            not store.value(
                "SELECT COUNT(*) FROM notifications WHERE status = 'sending'"
                " OR (status = 'queued' AND attempts = 0)"
            )
        ),
        60,
    )


async def deliver_the_rest(store):
    """Time passes, and every letter gets its next chances."""
    await asyncio.to_thread(wait_until_tried, store)
    store.pass_time()
    await asyncio.to_thread(store.wait_until_idle)


async def test_letters_that_are_refused_for_now_all_arrive_later(store):
    store.sink.answer = "451 4.3.0 Later"
    before = len(store.sink.letters)

    decided_s = await order(store, ORDERS)
    await asyncio.to_thread(wait_until_tried, store)
    refused = len(store.sink.letters) == before
    store.sink.answer = "250 2.0.0 OK"
    await deliver_the_rest(store)

    assert refused
    assert decided_s < 5
    assert len(store.sink.letters) == before + LETTERS * ORDERS
    assert await store.findings() == []


async def test_a_slow_mail_server_holds_up_no_order(store):
    store.sink.delay_s = 3

    decided_s = await order(store, ORDERS)
    waiting = store.waiting()
    store.sink.delay_s = 0
    await deliver_the_rest(store)

    assert waiting
    assert decided_s < 5
    assert await store.findings() == []


async def test_letters_without_an_answer_come_once_more_and_are_marked(store):
    store.sink.hang_up = True
    before = len(store.sink.letters)

    await order(store, ORDERS)
    await asyncio.to_thread(wait_until_tried, store)
    store.sink.hang_up = False
    await deliver_the_rest(store)

    arrived = store.sink.letters[before:]
    assert len(arrived) == 2 * LETTERS * ORDERS
    assert len({letter["Message-ID"] for letter in arrived}) == LETTERS * ORDERS
    assert await store.findings() == []


@pytest.mark.parametrize("count", CUTS)
async def test_a_link_cut_in_the_middle_of_a_letter_loses_none(store, link, count):
    link.cut()  # So that the next letter begins with the greeting.
    link.cut_after(count, Way.UP)

    await order(store, 1)
    await deliver_the_rest(store)

    assert await store.findings() == []


async def test_an_answer_that_is_lost_costs_at_most_a_copy(store, link):
    link.swallow()
    async with AsyncExitStack() as stack:
        await all_accepted(await store.customers(stack, 1))
    await asyncio.to_thread(wait_until, lambda: store.value(BEING_SENT) > 0, 30)
    link.heal()
    await deliver_the_rest(store)

    assert await store.findings() == []
