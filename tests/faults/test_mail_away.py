"""The mail server is down, refuses, is slow, or disconnects in the middle of an e-mail."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from bookstore.database import engine as db
from bookstore.notifications import delivery, notifications
from tests.faults.figures import FULL, figure
from tests.faults.proxy import Proxy, Way
from tests.faults.store import ScaledOut, all_accepted
from tests.servers.process import wait_until

#: In full 1,000 orders, so 2,000 e-mails: six times this, and the cuts.
ORDERS = figure(10, 150)
#: The link is cut after this many bytes to the mail server: in the greeting, the envelope, DATA,
#: and at the beginning, middle and end of the e-mail.
CUTS = (0, 10, 40, 90, 130, 500, 2000, 6000)
CUT_EACH = figure(1, 13)
#: How long it answers slowly, or with 451.
SLOW_S = figure(0, 90)
LATER_S = figure(0, 300)
#: Both e-mails of an order.
EMAILS = 2
UNDECIDED = "SELECT COUNT(*) FROM orders WHERE status = 'placed'"
BEING_SENT = "SELECT COUNT(*) FROM notifications WHERE status = 'sending'"
UNTRIED = "SELECT COUNT(*) FROM notifications WHERE status = 'queued' AND attempts = 0"
FAILED = "SELECT id, attempts, smtp_answer FROM notifications WHERE status = 'failed'"


@pytest.fixture(scope="module")
def link():
    """The proxy to the mail server; its target is set when the sink is running."""
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
def healthy(store, link, record_property):
    before = len(store.sink.emails)
    yield
    store.sink.answer, store.sink.hang_up, store.sink.delay_s = "250 2.0.0 OK", False, 0
    link.heal()
    arrived = store.sink.emails[before:]
    record_property("emails", len({email["Message-ID"] for email in arrived}))
    record_property("copies", len(arrived) - len({email["Message-ID"] for email in arrived}))


async def order(store, count):
    """Place this many orders; returns the time until all were processed."""
    async with AsyncExitStack() as stack:
        customers = await store.customers(stack, count)
        began = time.monotonic()
        await all_accepted(customers)
    await asyncio.to_thread(wait_until, lambda: not store.value(UNDECIDED), 60)
    return time.monotonic() - began


#: The orders of a test are processed within this time in any state of the mail server.
DECIDED_S = figure(5, 20)


async def deliver_the_rest(store):
    """Let time pass, so that every e-mail gets its next attempts."""
    await asyncio.to_thread(wait_until, lambda: not store.value(BEING_SENT), 120)
    if store.value(UNTRIED):
        await asyncio.sleep(
            delivery.CIRCUIT_BREAKER_S
        )  # During this time no worker checks whether it is back.
        store.pass_time()
        await asyncio.to_thread(wait_until, lambda: not store.value(UNTRIED), 120)
    store.pass_time()
    await asyncio.to_thread(store.wait_until_idle, 120)


async def test_emails_wait_for_a_mail_server_that_is_down(store, link):
    before = len(store.sink.emails)
    link.refuse()

    decided_s = await order(store, ORDERS)
    sent = len(store.sink.emails) - before
    link.heal()
    await deliver_the_rest(store)

    assert sent == 0
    assert decided_s < DECIDED_S
    assert len(store.sink.emails) == before + EMAILS * ORDERS
    assert await store.findings() == []


@pytest.mark.skipif(not FULL, reason="no time is passed here: the relay's half minute is real")
async def test_emails_are_sent_within_a_minute_after_the_mail_server_is_back(store, link):
    before = len(store.sink.emails)
    link.refuse()
    await order(store, ORDERS)
    tried = store.value("SELECT COUNT(*) FROM notifications WHERE status = 'queued' AND attempts")

    link.heal()
    # E-mails that were tried have a pause of their own, as long, which begins later.
    await asyncio.to_thread(store.sink.wait_for, before + EMAILS * ORDERS - tried, 60)
    await deliver_the_rest(store)

    assert tried < ORDERS
    assert await store.findings() == []


async def test_temporarily_refused_emails_all_arrive_later(store):
    store.sink.answer = "451 4.3.0 Later"
    before = len(store.sink.emails)

    decided_s = await order(store, ORDERS)
    await asyncio.sleep(LATER_S)
    await asyncio.to_thread(wait_until, lambda: not store.value(UNTRIED), 120)
    refused = len(store.sink.emails) == before
    store.sink.answer = "250 2.0.0 OK"
    await deliver_the_rest(store)

    assert refused
    assert decided_s < DECIDED_S
    assert len(store.sink.emails) == before + EMAILS * ORDERS
    assert await store.findings() == []


async def test_permanently_refused_emails_are_tried_once_and_shown_to_staff(store):
    store.sink.answer = "550 5.1.1 Nobody here"

    decided_s = await order(store, ORDERS)
    await asyncio.to_thread(store.wait_until_idle, 120)
    failed = store.rows(FAILED)
    store.sink.answer = "250 2.0.0 OK"
    engine = db.make_engine(store.database_url, timeout_s=20)
    for row in failed:
        async with db.transaction(engine) as conn:
            await notifications.resend(conn, row["id"], user_id=None, now=datetime.now(UTC))
    await engine.dispose()
    store.pass_time()
    await asyncio.to_thread(store.wait_until_idle, 120)

    assert decided_s < DECIDED_S
    assert len(failed) == EMAILS * ORDERS
    assert {(row["attempts"], row["smtp_answer"]) for row in failed} == {
        (1, "550 5.1.1 Nobody here")
    }
    assert await store.findings() == []


async def test_a_mail_server_slow_to_accept_an_email_delays_no_order(store):
    store.sink.delay_s = figure(3, 30)

    decided_s = await order(store, ORDERS)
    waiting = store.waiting()
    await asyncio.sleep(SLOW_S)
    store.sink.delay_s = 0
    await deliver_the_rest(store)

    assert waiting
    assert decided_s < DECIDED_S
    assert await store.findings() == []


async def test_a_mail_server_slow_at_every_step_delays_no_order(store, link):
    link.cut()  # A reused connection has its greeting already.
    link.delay_s = figure(1, 30)

    decided_s = await order(store, ORDERS)
    waiting = store.waiting()
    await asyncio.sleep(SLOW_S)
    link.heal()
    await deliver_the_rest(store)

    assert waiting
    assert decided_s < DECIDED_S
    assert await store.findings() == []


async def test_emails_without_an_answer_are_sent_once_more_and_marked(store):
    store.sink.hang_up = True
    before = len(store.sink.emails)

    await order(store, ORDERS)
    await asyncio.to_thread(
        wait_until, lambda: not store.value(BEING_SENT) and not store.value(UNTRIED), 120
    )
    store.sink.hang_up = False
    await deliver_the_rest(store)

    arrived = store.sink.emails[before:]
    assert len(arrived) == 2 * EMAILS * ORDERS
    assert len({email["Message-ID"] for email in arrived}) == EMAILS * ORDERS
    assert await store.findings() == []


@pytest.mark.parametrize("count", CUTS)
async def test_a_link_cut_in_the_middle_of_an_email_loses_none(store, link, count):
    for _ in range(CUT_EACH):
        link.cut()  # The next e-mail then begins with the greeting.
        link.cut_after(count, Way.UP)

        await order(store, 1)
        await deliver_the_rest(store)

    assert await store.findings() == []


async def test_a_lost_answer_causes_at_most_one_duplicate(store, link):
    link.swallow()
    async with AsyncExitStack() as stack:
        await all_accepted(await store.customers(stack, 1))
    await asyncio.to_thread(wait_until, lambda: store.value(BEING_SENT) > 0, 30)
    link.heal()
    await deliver_the_rest(store)

    assert await store.findings() == []
