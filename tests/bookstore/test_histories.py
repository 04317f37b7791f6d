"""Random histories of a store: whatever people and machines do, and in whatever order."""

import asyncio
import shutil
import tempfile
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import update

from bookstore import carts, checkout, db, doctor, fulfilment, orders, stock, tasks
from bookstore.errors import BookstoreError, IllegalTransition, OutOfStock
from bookstore.idempotency import Key
from bookstore.orders import NEXT, State
from bookstore.pricing import Rates, totals
from bookstore.stock import Reason
from bookstore.tables import books
from tests.factories import NOON, add_book

RATES = Rates("EUR", 290, 4000, 700)
MOVES = {
    State.PACKED: {State.CONFIRMED},
    State.SHIPPED: {State.PACKED},
    State.DELIVERED: {State.SHIPPED},
}


class Hand:
    worker = "history"

    def message_of(self, order_id):
        return None

    def attempt_of(self, order_id):
        return 1

    def worked_ms(self):
        return 0


class History(RuleBasedStateMachine):
    """The services on a real database, beside a model of what they should have done."""

    template: Path
    shelf = Bundle("shelf")
    requests = Bundle("requests")
    placed = Bundle("placed")

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copyfile(self.template, self.folder / "store.db")
        self.engine = db.make_engine(f"sqlite+aiosqlite:///{self.folder}/store.db")
        self.keys = count(1)
        self.stock = {}
        self.prices = {}
        self.orders = {}  # number -> [state, {book: quantity}, total]

    def teardown(self):
        self.runner.run(self.engine.dispose())
        self.runner.close()
        shutil.rmtree(self.folder)

    def do(self, service, *arguments, **facts):
        """What the service answers, in a transaction of its own."""

        async def work():
            async with db.transaction(self.engine) as conn:
                return await service(conn, *arguments, **facts)

        return self.runner.run(work())

    @initialize(target=shelf, copies=st.lists(st.integers(0, 6), min_size=1, max_size=3))
    def open_the_store(self, copies):
        made = []
        for number in copies:
            book_id = self.do(add_book, price_cents=1000, stock=number)
            self.stock[book_id], self.prices[book_id] = number, 1000
            made.append(book_id)
        return multiple(*made)

    @rule(
        target=requests,
        wanted=st.dictionaries(shelf, st.integers(1, 4), min_size=1, max_size=3),
    )
    def fill_a_cart(self, wanted):
        cart_id = self.do(carts.make_guest, now=NOON)
        kept = {}
        for book_id, quantity in wanted.items():
            try:
                self.do(carts.add, cart_id, book_id, quantity, now=NOON)
            except OutOfStock:
                assert self.stock[book_id] < quantity
            else:
                kept[book_id] = quantity
        wish = checkout.Wish(
            key=Key(f"cart:{cart_id}", str(next(self.keys))),
            request_hash="a" * 64,
            cart_id=cart_id,
            user_id=None,
            email="mira@example.com",
            shipping_address={"name": "Mira"},
        )
        return (wish, kept)

    @rule(target=placed, asked=st.lists(requests, min_size=1, max_size=3))
    def check_out(self, asked):
        """Some customers at once; a request may come again, in the same moment or later."""
        wishes = {wish.key: (wish, wanted) for wish, wanted in asked}.values()
        answers = self.do(checkout.check_out, [wish for wish, _ in wishes], RATES, now=NOON)
        numbers = []
        for (_, wanted), answer in zip(wishes, answers, strict=True):
            if isinstance(answer, BookstoreError):
                assert not wanted
                continue
            number = answer.order.number
            assert answer.replayed == (number in self.orders)
            if not answer.replayed:
                lines = [(quantity, self.prices[book]) for book, quantity in wanted.items()]
                total = totals(lines, RATES).total_cents
                self.orders[number] = [State.PLACED, wanted, total]
            numbers.append(number)
        return multiple(*numbers)

    @rule(numbers=st.lists(placed, min_size=1, max_size=5))
    def process(self, numbers):
        """Messages: in any order, doubled, about orders that have moved on."""
        ids = {number: self.do(orders.get, number).id for number in numbers}
        waiting = sorted(
            (order_id, number)
            for number, order_id in ids.items()
            if self.orders[number][0] is State.PLACED
        )
        self.do(work_off, list(ids.values()))
        for _, number in waiting:
            order = self.orders[number]
            enough = all(self.stock[book] >= wanted for book, wanted in order[1].items())
            order[0] = State.CONFIRMED if enough else State.REJECTED
            if enough:
                self.shelve(order, -1)

    @rule(number=placed, by_staff=st.booleans())
    def cancel(self, number, by_staff):
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
        if before is not State.PLACED:
            self.shelve(order, +1)

    @rule(number=placed, to=st.sampled_from(sorted(MOVES)))
    def move_on(self, number, to):
        order = self.orders[number]
        allowed = order[0] in MOVES[to]
        try:
            self.do(orders.transition, number, to, actor="staff", now=NOON)
        except IllegalTransition:
            assert not allowed
            return
        assert allowed
        order[0] = to

    @rule(book_id=shelf, delta=st.integers(-4, 4).filter(bool))
    def move_stock(self, book_id, delta):
        try:
            self.do(stock.move, book_id, delta, Reason.COUNT, now=NOON)
        except OutOfStock:
            assert self.stock[book_id] + delta < 0
            return
        self.stock[book_id] += delta
        assert self.stock[book_id] >= 0

    @rule(book_id=shelf, price_cents=st.integers(0, 5000))
    def change_a_price(self, book_id, price_cents):
        async def change(conn):
            await conn.execute(
                update(books).where(books.c.id == book_id).values(price_cents=price_cents)
            )

        self.do(change)
        self.prices[book_id] = price_cents

    @rule(request=consumes(requests))
    def leave_a_cart(self, request):
        """Nobody ever comes back to it."""

    @invariant()
    def the_store_is_as_the_model_says(self):
        async def look(conn):
            findings = [found async for found in doctor.examine(conn, now=NOON)]
            found = {number: await orders.get(conn, number) for number in self.orders}
            shelves = await stock.look(conn, list(self.stock))
            return findings, found, shelves

        findings, found, shelves = self.do(look)
        assert findings == []
        assert shelves == self.stock
        assert {number: order.status for number, order in found.items()} == {
            number: order[0] for number, order in self.orders.items()
        }
        for number, order in found.items():
            assert order.total_cents in (None, self.orders[number][2])

    def shelve(self, order, sign):
        for book, quantity in order[1].items():
            self.stock[book] += sign * quantity


async def work_off(conn, order_ids):
    """As the actors do it: hold the tasks, forget them, process, all in one transaction."""
    held = await tasks.hold(conn, tasks.Task.PROCESS_ORDERS, order_ids)
    await tasks.done(conn, tasks.Task.PROCESS_ORDERS, held)
    await fulfilment.process(conn, order_ids, trace=Hand(), now=NOON)


@pytest.mark.timeout(300)
def test_no_history_breaks_an_invariant(sqlite_template):
    History.template = sqlite_template
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
