import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, text, update

from bookstore import orders, pricing
from bookstore.database.tables import (
    book_categories,
    book_stock,
    categories,
    idempotency_keys,
    jobs,
    notifications,
    order_events,
    order_lines,
    stock_movements,
    tasks,
)
from bookstore.database.tables import orders as order_rows
from bookstore.operations import doctor, invariants
from tests.factories import NOON, add_book, add_order
from tests.ordering import place, process


async def findings(conn):
    return {finding.invariant async for finding in doctor.examine(conn, now=NOON)}


@pytest.fixture
async def order(conn):
    placed = await place(conn, {await add_book(conn, stock=5): 2})
    await process(conn, placed)
    return placed


async def test_a_consistent_store_has_no_findings(conn, order):
    other = await place(conn, {order.items[0].book_id: 1})
    await process(conn, other)
    await orders.cancel(conn, other.number, actor="guest", by_staff=False, reason=None, now=NOON)
    await place(conn, {order.items[0].book_id: 1})

    assert await findings(conn) == set()
    if conn.dialect.name == "mysql":
        for precheck in invariants.PRECHECKS:
            assert await conn.scalar(text(precheck.query), {"first": 1, "last": 10**9}) is None


def event(order, seq, kind):
    return insert(order_events).values(
        order_id=order.id, seq=seq, kind=kind, at=NOON, actor="someone"
    )


def task(kind, ref_id):
    return insert(tasks).values(
        task=kind, ref_id=ref_id, due_at=NOON, publish_count=0, attempts=0, created_at=NOON
    )


def used_key(order, key):
    return insert(idempotency_keys).values(
        owner="cart:1", key=key, request_hash="0" * 64, order_id=order.id, created_at=NOON
    )


CONFIRMATION = notifications.c.kind == "order-confirmed"
#: The statements that break each invariant, given a confirmed order of quantity 2.
FAULTS = {
    "stock is the sum of its movements": lambda order: [update(book_stock).values(stock=4)],
    "stock is never negative": lambda order: [update(book_stock).values(stock=-1)],
    "every book has a stock row": lambda order: [delete(book_stock)],
    "the category index matches its books": lambda order: [
        insert(categories).values(id=1, slug="fiction", name="Fiction", position=0),
        # As written by versions in which the category index had no columns for sorting.
        insert(book_categories).values(book_id=order.items[0].book_id, category_id=1, position=0),
    ],
    "an order has at most one idempotency key": lambda order: [
        used_key(order, "one"),
        used_key(order, "another"),
    ],
    "every placed order has a processing task": lambda order: [
        update(order_rows).values(status="placed")
    ],
    "every unsent e-mail has a sending task": lambda order: [delete(tasks)],
    "every unfinished job has a task": lambda order: [
        insert(jobs).values(
            kind="export-books",
            state="running",
            options={},
            findings={},
            **dict.fromkeys(("read", "created", "updated", "unchanged", "refused", "done"), 0),
            created_at=NOON,
            updated_at=NOON,
        )
    ],
    "no processed order has a processing task": lambda order: [task("process_orders", order.id)],
    "no finished e-mail has a sending task": lambda order: [
        update(notifications).values(status="sent")
    ],
    "every e-mail about an order refers to it": lambda order: [
        update(notifications).where(CONFIRMATION).values(order_id=None)
    ],
    "every processing task refers to an existing order": lambda order: [
        task("process_orders", 10**9)
    ],
    "every sold item has a matching stock movement": lambda order: [
        delete(stock_movements).where(stock_movements.c.order_id.is_not(None))
    ],
    "placed and rejected orders have no stock movements": lambda order: [
        update(order_rows).values(status="placed")
    ],
    "a cancelled order has returned its stock": lambda order: [
        update(order_rows).values(status="cancelled")
    ],
    "every order has lines": lambda order: [delete(order_lines)],
    "order events are numbered without gaps": lambda order: [
        delete(order_events).where(order_events.c.seq == 1)
    ],
    "every order has an event for its status": lambda order: [
        update(order_rows).values(status="packed")
    ],
    "the order status is that of the last status event": lambda order: [event(order, 3, "packed")],
    "every timeline starts with `placed`": lambda order: [
        update(order_events).where(order_events.c.seq == 1).values(kind="payment-paid")
    ],
    "every status change is an allowed transition": lambda order: [
        event(order, 3, "payment-paid"),
        event(order, 4, "delivered"),
    ],
    "no status occurs twice in an order": lambda order: [
        update(order_events).values(kind="placed")
    ],
    "every status except packed has an e-mail": lambda order: [
        delete(notifications).where(CONFIRMATION)
    ],
    "every status e-mail has its event": lambda order: [
        update(notifications).where(CONFIRMATION).values(kind="order-shipped")
    ],
    "every processed order has a total": lambda order: [
        update(order_rows).values(total_cents=None)
    ],
    "no task is overdue": lambda order: [update(tasks).values(due_at=NOON - 2 * doctor.OVERDUE)],
    invariants.TOTAL_RULE: lambda order: [update(order_rows).values(total_cents=1)],
}


def test_every_invariant_has_a_fault():
    # The fault of the audit log is in test_chain.py.
    assert {*FAULTS} == {
        *invariants.RULES,
        *invariants.ORDER_RULES,
        "no task is overdue",
        invariants.TOTAL_RULE,
    }
    assert frozenset().union(*(it.rules for it in invariants.PRECHECKS)) <= {*FAULTS}


@pytest.mark.parametrize("invariant", FAULTS)
async def test_a_broken_invariant_is_reported(conn, order, invariant):
    mysql = conn.dialect.name == "mysql"
    await conn.exec_driver_sql(
        "SET check_constraint_checks = 0" if mysql else "PRAGMA ignore_check_constraints = ON"
    )
    for statement in FAULTS[invariant](order):
        await conn.execute(statement)

    assert invariant in await findings(conn)


async def test_stock_without_movements_is_reported(conn, order):
    await conn.execute(delete(stock_movements))

    assert "stock is the sum of its movements" in await findings(conn)


async def test_a_task_that_is_published_but_never_claimed_is_reported(conn, order):
    await conn.execute(update(tasks).values(publish_count=21, due_at=NOON))

    assert "no task is overdue" in await findings(conn)


async def test_a_finding_names_the_row_at_fault(conn, order):
    await conn.execute(update(order_rows).values(total_cents=1))

    (finding,) = [found async for found in doctor.examine(conn, now=NOON)]

    assert finding.row.startswith(f"order {order.number}: 1, not ")


few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
kinds = st.sampled_from([*orders.State, "payment-paid"])
#: Statuses without an e-mail: a notification of this kind makes the precheck find the order, but
#: breaks no rule if the event exists.
SILENT = {"order-packed", "order-payment-paid"}


@st.composite
def histories(draw):
    """Status, event kinds and notification kinds, with up to three random faults."""
    history = draw(st.sampled_from([*invariants._histories(orders.State.PLACED)])).split(">")
    status, notified = history[-1], {f"order-{kind}" for kind in history if kind != "packed"}
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(history) - 1))
        match draw(st.sampled_from(["insert", "replace", "swap", "status", "notification"])):
            case "insert":
                history.insert(place, draw(kinds))
            case "replace":
                history[place] = draw(kinds)
            case "swap":
                history[place], history[-1] = history[-1], history[place]
            case "status":
                status = draw(st.sampled_from(orders.State))
            case "notification":
                notified ^= {f"order-{draw(kinds)}"}
    return status, history, notified


@pytest.mark.mariadb
@pytest.mark.parametrize(
    "database_url", ["mariadb"], indirect=True
)  # SQLite does not use this precheck.
@few
@given(history=histories(), gap=st.sampled_from([0, 0, 1]), ahead=st.sampled_from([0, 0, 1]))
@example(history=("placed", ["payment-paid", "placed"], {"order-placed"}), gap=0, ahead=0)
@example(history=("placed", ["placed"], {"order-placed"}), gap=1, ahead=0)
@example(history=("placed", ["placed", "payment-paid"], {"order-placed"}), gap=1, ahead=0)
@example(history=("placed", ["placed", "payment-paid"], {"order-placed"}), gap=1, ahead=1)
@example(
    history=("placed", ["placed", "payment-paid"], {"order-placed", "order-payment-paid"}),
    gap=0,
    ahead=0,
)
async def test_the_precheck_finds_every_order_that_breaks_a_rule_of_events(
    conn, history, gap, ahead
):
    status, happened, notified = history
    rows = [
        {"seq": seq, "kind": kind, "at": NOON, "actor": "someone"}
        for seq, kind in enumerate(happened, 1)
    ]
    rows[-1]["seq"] += gap
    async with conn.begin_nested() as savepoint:
        order_id = await add_order(conn, {}, status=status, last_seq=len(rows) + ahead)
        await conn.execute(insert(order_events).values(order_id=order_id), rows)
        for kind in notified:
            await conn.execute(
                insert(notifications).values(
                    order_id=order_id, kind=kind, status="sent", in_doubt=False, recipient="-",
                    attempts=1, created_at=NOON,
                )
            )  # fmt: skip
        span = {"first": order_id, "last": order_id}
        about_events = invariants.PRECHECKS[0]
        suspect = await conn.scalar(text(about_events.query), span)
        broken = [
            rule
            for rule in about_events.rules
            if await conn.scalar(text(invariants.ORDER_RULES[rule]), span) is not None
        ]
        await savepoint.rollback()

    assert suspect is not None or not broken
    if suspect is not None and not {f"order-{kind}" for kind in happened} & notified & SILENT:
        assert broken


@few
@given(
    lines=st.lists(st.tuples(st.integers(1, 99), st.integers(0, 1_000_000)), max_size=5),
    shipping=st.integers(0, 100_000),
    free_from=st.integers(0, 10_000_000) | st.just("the subtotal"),
    error=st.sampled_from([0, 0, 1, -1, 290]),
)
@example(lines=[(1, 0)], shipping=290, free_from=4000, error=0)
@example(lines=[(1, 0)], shipping=290, free_from=4000, error=290)
async def test_the_precheck_computes_the_same_total_as_python(
    conn, lines, shipping, free_from, error
):
    subtotal = sum(quantity * price for quantity, price in lines)
    free_from = subtotal if free_from == "the subtotal" else free_from
    rates = pricing.Rates("EUR", shipping, free_from, 700)
    total_cents = max(pricing.totals(lines, rates).total_cents + error, 0)
    is_right = total_cents == pricing.totals(lines, rates).total_cents
    async with conn.begin_nested() as savepoint:
        order_id = await add_order(
            conn, {}, status="placed", terms=rates.to_json(), total_cents=total_cents
        )
        for quantity, price in lines:
            await conn.execute(
                insert(order_lines).values(
                    order_id=order_id, book_id=await add_book(conn), isbn13="9780000000000",
                    title="A Book", quantity=quantity, unit_price_cents=price,
                )
            )  # fmt: skip
        found = await doctor._wrong_totals(conn, {"first": order_id, "last": order_id})
        suspect = await conn.scalar(
            text(invariants.PRECHECKS[1].query), {"first": order_id, "last": order_id}
        )
        await savepoint.rollback()

    assert bool(found) is not is_right
    assert (suspect is None) is (is_right and bool(lines))
