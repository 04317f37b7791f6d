"""Random histories: customers, staff and workers act in any order, and no invariant breaks."""

from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from sqlalchemy import update

from bookstore import orders
from bookstore.carts import carts
from bookstore.catalogue import stock
from bookstore.catalogue.stock import StockReason
from bookstore.database.tables import books
from bookstore.errors import BookstoreError, IllegalTransition, OutOfStock
from bookstore.idempotency import Key
from bookstore.operations import doctor
from bookstore.orders import checkout, processing
from bookstore.orders.states import NEXT, State
from bookstore.payments.provider import Payment
from bookstore.pricing import Rates, totals
from bookstore.tasks import outbox
from tests.bookstore.machine import PICK, PICKS, STATEMENT, StoreMachine, run
from tests.factories import NOON, Trace, add_book

RATES = Rates("EUR", 290, 4000, 700)
STATUS_CHANGES = {
    State.PACKED: {State.CONFIRMED},
    State.SHIPPED: {State.PACKED},
    State.DELIVERED: {State.SHIPPED},
}
PAYMENT_CHANGES = {
    Payment.UNPAID: {Payment.AUTHORIZED, Payment.PAID},
    Payment.AUTHORIZED: {Payment.UNPAID, Payment.PAID},
    Payment.PAID: {Payment.REFUND_DUE},
    Payment.REFUND_DUE: {Payment.REFUNDED},
}
#: The payment of an order after its cancellation or rejection.
PAYMENT_AFTER_CANCELLATION = {Payment.AUTHORIZED: Payment.UNPAID, Payment.PAID: Payment.REFUND_DUE}


class History(StoreMachine):
    """Runs the services on a real database and compares them with a model."""

    def __init__(self):
        super().__init__()
        self.keys = count(1)
        self.stock = {}
        self.prices = {}
        self.requests = []  # (checkout request, {book: quantity})
        self.agreed = {}  # {cart id: {book: price when it was put into the cart}}
        self.orders = {}  # number -> [state, {book: quantity}, total, payment]

    @initialize(quantities=st.lists(st.integers(1, 6), min_size=3, max_size=3))
    def open_the_store(self, quantities):
        for number in quantities:
            book_id = self.do(add_book, price_cents=1000, stock=number)
            self.stock[book_id], self.prices[book_id] = number, 1000

    @rule(
        carts_items=st.lists(
            st.dictionaries(st.integers(0, 2), st.integers(1, 3), min_size=1),
            min_size=1,
            max_size=3,
        )
    )
    def buy(self, carts_items):
        """Several customers fill their carts and check out at the same time."""
        self.check_out([self.fill_a_cart(items) for items in carts_items])

    @rule(items=st.dictionaries(st.integers(0, 2), st.integers(1, 3), min_size=1), at=STATEMENT)
    def die_while_checking_out(self, items, at):
        """The killed checkout leaves no trace, and the request can be repeated."""
        request, _ = self.fill_a_cart(items)
        self.die(at, checkout.check_out, [request], RATES, now=NOON)

    @precondition(lambda self: self.orders)
    @rule(pick=PICK, at=STATEMENT)
    def die_while_cancelling(self, pick, at):
        number = self.pick(self.orders, pick)
        if State.CANCELLED in NEXT.get(self.orders[number][0], ()):
            facts = {"actor": "someone", "by_staff": True, "reason": None, "now": NOON}
            self.die(at, orders.cancel, number, **facts)

    @precondition(lambda self: self.requests)
    @rule(picks=PICKS)
    def repeat(self, picks):
        """Clients repeat their requests."""
        repeated = dict.fromkeys(pick % len(self.requests) for pick in picks)
        self.check_out([self.requests[number] for number in repeated])

    def fill_a_cart(self, items):
        cart_id = self.do(carts.make_guest, now=NOON)
        added, agreed = {}, {}
        for number, quantity in items.items():
            book_id = self.pick(self.stock, number)
            try:
                self.do(carts.add, cart_id, book_id, quantity, now=NOON)
            except OutOfStock:
                assert self.stock[book_id] < quantity
            else:
                added[book_id], agreed[book_id] = quantity, self.prices[book_id]
        request = checkout.CheckoutRequest(
            key=Key(f"cart:{cart_id}", str(next(self.keys))),
            request_hash="a" * 64,
            cart_id=cart_id,
            user_id=None,
            email="mira@example.com",
            shipping_address={"name": "Mira", "country": "DE"},
        )
        self.requests.append((request, added))
        self.agreed[cart_id] = agreed
        return self.requests[-1]

    def check_out(self, requests):
        answers = self.do(checkout.check_out, [request for request, _ in requests], RATES, now=NOON)
        for (request, items), answer in zip(requests, answers, strict=True):
            agreed = self.agreed[request.cart_id]
            risen = any(self.prices[book] > agreed[book] for book in items)
            if isinstance(answer, BookstoreError):
                assert risen or not items
                continue
            number = answer.order.number
            assert answer.replayed == (number in self.orders)
            if not answer.replayed:
                assert not risen
                lines = [(quantity, self.prices[book]) for book, quantity in items.items()]
                total = totals(lines, RATES).total_cents
                self.orders[number] = [State.PLACED, items, total, Payment.UNPAID]

    @precondition(lambda self: self.orders)
    @rule(picks=PICKS)
    def process(self, picks):
        """Messages arrive in any order, repeated, and about orders that are processed already."""
        numbers = [self.pick(self.orders, pick) for pick in picks]
        ids = {number: self.do(orders.get, number).id for number in numbers}
        waiting = sorted(
            (order_id, number)
            for number, order_id in ids.items()
            if self.orders[number][0] is State.PLACED
        )
        self.do(work_off, list(ids.values()))
        for _, number in waiting:
            order = self.orders[number]
            enough = all(self.stock[book] >= quantity for book, quantity in order[1].items())
            order[0] = State.CONFIRMED if enough else State.REJECTED
            if enough:
                self.change_stock(order, -1)
            else:
                self.release_payment(order)

    @precondition(lambda self: self.orders)
    @rule(picks=PICKS, at=STATEMENT)
    def die_while_processing(self, picks, at):
        numbers = dict.fromkeys(self.pick(self.orders, pick) for pick in picks)
        ids = [self.do(orders.get, number).id for number in numbers]
        self.die(at, work_off, ids)

    @precondition(lambda self: self.orders)
    @rule(pick=PICK, by_staff=st.booleans())
    def cancel(self, pick, by_staff):
        number = self.pick(self.orders, pick)
        order = self.orders[number]
        before = order[0]
        allowed = State.CANCELLED in NEXT.get(before, ()) and (
            by_staff or before is not State.PACKED
        )
        try:
            self.do(
                orders.cancel, number, actor="someone", by_staff=by_staff, reason=None, now=NOON
            )
        except IllegalTransition:
            assert not allowed
            return
        assert allowed
        order[0] = State.CANCELLED
        self.release_payment(order)
        if before is not State.PLACED:
            self.change_stock(order, +1)

    @precondition(lambda self: self.orders)
    @rule(pick=PICK, to=st.sampled_from(sorted(Payment)))
    def record_a_payment(self, pick, to):
        number = self.pick(self.orders, pick)
        order = self.orders[number]
        allowed = to in PAYMENT_CHANGES.get(order[3], ())
        try:
            self.do(orders.change_payment, number, to, actor="staff", now=NOON)
        except IllegalTransition:
            assert not allowed
            return
        assert allowed
        order[3] = to

    @precondition(lambda self: self.orders)
    @rule(pick=PICK, to=st.sampled_from(sorted(STATUS_CHANGES)))
    def change_status(self, pick, to):
        number = self.pick(self.orders, pick)
        order = self.orders[number]
        allowed = order[0] in STATUS_CHANGES[to]
        try:
            self.do(orders.move, number, to, actor="staff", now=NOON)
        except IllegalTransition:
            assert not allowed
            return
        assert allowed
        order[0] = to

    @rule(pick=PICK, delta=st.sampled_from([-3, -1, 1, 4]))
    def move_stock(self, pick, delta):
        book_id = self.pick(self.stock, pick)
        try:
            self.do(stock.move, book_id, delta, StockReason.COUNT, now=NOON)
        except OutOfStock:
            assert self.stock[book_id] + delta < 0
            return
        self.stock[book_id] += delta
        assert self.stock[book_id] >= 0

    @rule(pick=PICK, price_cents=st.integers(0, 5000))
    def change_a_price(self, pick, price_cents):
        book_id = self.pick(self.stock, pick)

        async def change(conn):
            await conn.execute(
                update(books).where(books.c.id == book_id).values(price_cents=price_cents)
            )

        self.do(change)
        self.prices[book_id] = price_cents

    @invariant()
    def the_store_is_as_the_model_says(self):
        async def load(conn):
            findings = [found async for found in doctor.examine(conn, now=NOON)]
            found = {number: await orders.get(conn, number) for number in self.orders}
            stocks = await stock.quantities(conn, list(self.stock))
            return findings, found, stocks

        findings, found, stocks = self.do(load)
        assert findings == []
        assert stocks == self.stock
        assert {
            number: [order.status, order.payment_status] for number, order in found.items()
        } == {number: [order[0], order[3]] for number, order in self.orders.items()}
        for number, order in found.items():
            assert order.total_cents in (None, self.orders[number][2])

    def release_payment(self, order):
        order[3] = PAYMENT_AFTER_CANCELLATION.get(order[3], order[3])

    def change_stock(self, order, sign):
        for book, quantity in order[1].items():
            self.stock[book] += sign * quantity


async def work_off(conn, order_ids):
    """Like the actor: lock and complete the tasks and process the orders, in one transaction."""
    locked = await outbox.lock(conn, outbox.Task.PROCESS_ORDERS, order_ids)
    await outbox.complete(conn, outbox.Task.PROCESS_ORDERS, locked)
    await processing.process(conn, order_ids, trace=Trace(), now=NOON)


@pytest.mark.timeout(300)
def test_no_history_breaks_an_invariant(sqlite_template):
    run(History, sqlite_template)
