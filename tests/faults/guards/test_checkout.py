"""Guards against duplicate orders and against accepted orders without a task."""

from dataclasses import replace

from bookstore import idempotency
from bookstore.errors import CartEmpty, IdempotencyKeyReused
from bookstore.orders.checkout import Checkouts
from bookstore.tasks import outbox
from tests.actors.conftest import RATES
from tests.faults.guards.scene import books, findings, full_cart, nothing, place


async def test_key_in_the_transaction(engine, guarded, monkeypatch):
    if not guarded:
        monkeypatch.setattr(idempotency, "insert_statement", nothing)
    (dune,) = await books(engine, stock=7)
    request = await full_cart(engine, {dune: 1})
    first = await Checkouts(engine, RATES).place(request)

    try:
        again = (await Checkouts(engine, RATES).place(request)).order.number
    except CartEmpty:
        again = None

    assert (again == first.order.number) == guarded


async def test_request_hash(engine, guarded, monkeypatch):
    if not guarded:

        class Any(str):
            __slots__ = ()
            __hash__ = str.__hash__

            def __eq__(self, other):
                return True

        found = idempotency.parse_found

        def used(rows):
            return {
                key: use._replace(request_hash=Any(use.request_hash))
                for key, use in found(rows).items()
            }

        monkeypatch.setattr(idempotency, "parse_found", used)
    (dune,) = await books(engine, stock=7)
    request = await full_cart(engine, {dune: 1})
    await Checkouts(engine, RATES).place(request)

    try:
        await Checkouts(engine, RATES).place(replace(request, request_hash="1" * 64))
    except IdempotencyKeyReused:
        refused = True
    else:
        refused = False

    assert refused == guarded


async def test_task_written_in_the_transaction(engine, guarded, monkeypatch):
    if not guarded:
        # Written after the transaction instead, by a process that was killed in between.
        monkeypatch.setattr(outbox, "add_statement", nothing)
    (dune,) = await books(engine, stock=7)

    await place(engine, {dune: 1})

    broken = "every placed order has a processing task" in await findings(engine)
    assert broken != guarded
