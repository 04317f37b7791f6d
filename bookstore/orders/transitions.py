"""Changes of an order after it was placed: its state and its payment.

`transition` is the only function that changes `orders.status`.  Workers, staff and customers all
come through it, so that each step writes its event, asks the payment provider what becomes of the
money, returns items to stock, queues the e-mail, writes the audit log and notifies watchers.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit, notifications
from bookstore.catalogue import release
from bookstore.database.engine import notify
from bookstore.database.failpoints import failpoint
from bookstore.database.statements import Bulk, Statement, run_statements
from bookstore.database.tables import (
    book_stock,
    books,
    order_events,
    order_lines,
    orders,
    stock_movements,
)
from bookstore.errors import IllegalTransition, Invalid, NotFound, NotYetOnSale
from bookstore.orders.orders import Order, by_ids, get
from bookstore.orders.states import CUSTOMER_CANCELS, IN_BULK, MACHINE_MADE, NEXT, State, has_email
from bookstore.payments import PROVIDERS, Payment

_WRITE_STATES = Bulk(
    "order_id BIGINT, payment_status VARCHAR(20), reason TEXT, tracking VARCHAR(200),"
    " total_cents INT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN orders AS o {by_key} ON o.id = v.order_id
    SET o.status = :status, o.payment_status = v.payment_status,
        o.reason = COALESCE(v.reason, o.reason), o.tracking = COALESCE(v.tracking, o.tracking),
        o.total_cents = COALESCE(v.total_cents, o.total_cents),
        o.last_seq = o.last_seq + 1, o.updated_at = :now
    """,
    sqlite="""
    UPDATE orders SET status = :status, payment_status = v.payment_status,
        reason = COALESCE(v.reason, orders.reason),
        tracking = COALESCE(v.tracking, orders.tracking),
        total_cents = COALESCE(v.total_cents, orders.total_cents),
        last_seq = last_seq + 1, updated_at = :now
    FROM {rows} AS v WHERE orders.id = v.order_id
    """,
)
_WRITE_EVENTS = Bulk(
    "order_id BIGINT, seq INT, detail TEXT, message_id VARCHAR(36), attempt INT, waited_ms INT",
    """
    INSERT INTO order_events (order_id, seq, kind, at, actor, detail, message_id, attempt,
        worker, waited_ms, worked_ms)
    SELECT v.order_id, v.seq, :status, :now, :actor, v.detail, v.message_id, v.attempt,
        :worker, v.waited_ms, :worked_ms FROM {rows} AS v
    """,
)


class Locked(NamedTuple):
    """What a transition needs of an order whose row the caller has locked."""

    id: int
    number: str
    status: State
    last_seq: int
    user_id: int | None
    email: str
    payment_status: Payment
    payment_provider: str


class Facts(NamedTuple):
    """What a transition writes on one order besides its state; None leaves a field as it is."""

    reason: str | None = None
    tracking: str | None = None
    total_cents: int | None = None
    #: From the order being placed to the worker taking it up.
    waited_ms: int | None = None


class Trace(Protocol):
    """The worker that processes the orders, for their events."""

    @property
    def worker(self) -> str: ...
    def message_of(self, order_id: int) -> str | None: ...
    def attempt_of(self, order_id: int) -> int: ...
    def request_of(self, order_id: int) -> str | None: ...
    def worked_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class MoveResult:
    """The numbers of the orders that took the step, and why each of the others did not."""

    done: list[str]
    refused: dict[str, str] = field(default_factory=dict)


async def transition(
    conn: AsyncConnection,
    locked: Sequence[Locked],
    to: State,
    *,
    actor: str,
    facts: Mapping[int, Facts] | None = None,
    trace: Trace | None = None,
    beside: Iterable[Statement] = (),
    now: datetime,
) -> None:
    """Put locked orders into another state, all of them, in a fixed number of statements.

    `actor` is `store`, `customer`, `guest` or `staff:7` with the id of the user.  `facts` are by
    the orders' ids.  `beside` are statements of the caller that are sent in the same trip.

    Raises:
        IllegalTransition: the state of one of the orders does not lead there; nothing is changed.
        NotYetOnSale: an order to ship has a book that must not be sold yet; nothing is changed.
    """
    for order in locked:
        if to not in NEXT.get(order.status, ()):
            raise IllegalTransition(order.status, to)
    if not locked:
        return
    ids = [order.id for order in locked]
    if held := await _held_back(conn, locked, to, now=now):
        raise NotYetOnSale(list(dict.fromkeys(chain.from_iterable(held.values()))))
    known = facts or {}
    of_order = {order.id: known.get(order.id, Facts()) for order in locked}
    payments = {order.id: _payment_after(order, to) for order in locked}
    changes = [
        *beside,
        _WRITE_STATES.of(
            [(id_, payments[id_], *of_order[id_][:3]) for id_ in ids], status=to.value, now=now
        ),
        _events(locked, to, of_order, actor=actor, trace=trace, now=now),
    ]
    if has_email(to):
        await notifications.queue_for_orders(
            conn,
            [(order.id, f"order-{to}", order.user_id, order.email) for order in locked],
            now=now,
            request_ids={id_: trace.request_of(id_) for id_ in ids} if trace else None,
            preceding=changes,
        )
    else:
        await run_statements(conn, *changes)
    if to is State.CANCELLED:  # Before an order is confirmed nothing is taken from stock.
        sold = [order.id for order in locked if order.status is not State.PLACED]
        await _return_to_stock(conn, sold, now=now)
    await _audit_steps(conn, locked, to, payments, actor=actor, now=now)
    notify(conn, ids)


async def move(
    conn: AsyncConnection,
    number: str,
    to: State,
    *,
    actor: str,
    reason: str | None = None,
    tracking: str | None = None,
    now: datetime,
) -> Order:
    """Staff move one order on.

    Raises:
        NotFound: there is no such order.
        IllegalTransition: its state does not lead there, or only the order service may decide it.
        NotYetOnSale: an order to ship has a book that must not be sold yet.
    """
    order = await _lock(conn, number)
    if to in MACHINE_MADE:
        raise IllegalTransition(order.status, to)
    facts = {order.id: Facts(reason, tracking or None)}
    await transition(conn, [order], to, actor=actor, facts=facts, now=now)
    return await get(conn, number)


async def move_many(
    conn: AsyncConnection,
    numbers: Collection[str],
    to: State,
    *,
    trackings: Mapping[str, str] = MappingProxyType({}),
    user_id: int,
    now: datetime,
) -> MoveResult:
    """Staff move on those of these orders that can take the step.

    `trackings` has the tracking numbers of shipments by order number.

    Raises:
        Invalid: the step needs a text for each order.
    """
    if to not in IN_BULK:
        raise Invalid("to", "This status cannot be set for many orders at once.")
    found = await _lock_where(conn, orders.c.number.in_(list(numbers)))
    known = {order.number for order in found}
    refused = {each: "This order does not exist." for each in numbers if each not in known}
    able = [order for order in found if to in NEXT.get(order.status, ())]
    for order in found:
        if order not in able:
            refused[order.number] = str(IllegalTransition(order.status, to))
    held = await _held_back(conn, able, to, now=now)
    refused |= {it.number: str(NotYetOnSale(held[it.id])) for it in able if it.id in held}
    able = [order for order in able if order.id not in held]
    facts = {
        order.id: Facts(tracking=trackings[order.number])
        for order in able
        if order.number in trackings
    }
    await transition(conn, able, to, actor=f"staff:{user_id}", facts=facts, now=now)
    return MoveResult([order.number for order in able], refused)


async def move_locked(
    conn: AsyncConnection, order_ids: Sequence[int], to: State, *, user_id: int, now: datetime
) -> set[int]:
    """Staff move on orders that the caller has locked and found able to take the step.

    Returns the ids of those that must not be shipped yet; they stay as they are.
    """
    found = await _lock_where(conn, orders.c.id.in_(order_ids))
    held = await _held_back(conn, found, to, now=now)
    found = [order for order in found if order.id not in held]
    await transition(conn, found, to, actor=f"staff:{user_id}", now=now)
    return {*held}


async def cancel(
    conn: AsyncConnection,
    number: str,
    *,
    actor: str,
    by_staff: bool,
    reason: str | None,
    now: datetime,
) -> Order:
    """Cancel an order; items that were taken from stock for it go back, once.

    Raises:
        NotFound: there is no such order.
        IllegalTransition: it is too late, for a customer once it is packed.
    """
    order = await _lock(conn, number)
    failpoint("C1")
    if not (by_staff or order.status in CUSTOMER_CANCELS):
        raise IllegalTransition(order.status, State.CANCELLED)
    facts = {order.id: Facts(reason)}
    await transition(conn, [order], State.CANCELLED, actor=actor, facts=facts, now=now)
    failpoint("C2")
    return await get(conn, number)


async def reject(
    conn: AsyncConnection, order_id: int, reason: str, *, actor: str, now: datetime
) -> None:
    """Staff reject an order whose processing failed for good; the customer reads the reason.

    An order that was already decided or cancelled stays as it is.

    Raises:
        IllegalTransition: this release does not know the state of the order.
    """
    found = await _lock_where(conn, orders.c.id == order_id)
    undecided = [it for it in found if it.status is State.PLACED or not it.status.is_known]
    if undecided:
        order = (await by_ids(conn, [order_id]))[order_id]
        facts = {order_id: Facts(reason, total_cents=order.amount_due_cents)}
        await transition(conn, undecided, State.REJECTED, actor=actor, facts=facts, now=now)


async def change_payment(
    conn: AsyncConnection, number: str, to: Payment, *, actor: str, now: datetime
) -> Order:
    """Staff record what happened to the money.

    Raises:
        NotFound: there is no such order.
        IllegalTransition: the state of the payment does not lead there.
    """
    order = await _lock(conn, number)
    provider = PROVIDERS.get(order.payment_provider)
    if provider is None or to not in provider.steps.get(order.payment_status, ()):
        raise IllegalTransition(order.payment_status, to)
    seq = order.last_seq + 1
    await conn.execute(
        update(orders)
        .where(orders.c.id == order.id)
        .values(payment_status=to, last_seq=seq, updated_at=now)
    )
    event = {"order_id": order.id, "seq": seq, "kind": f"payment-{to}", "at": now, "actor": actor}
    await conn.execute(insert(order_events).values(event))
    changes = {number: {"payment_status": [order.payment_status, to]}}
    await _audit(conn, "change-payment", changes, actor=actor, now=now)
    notify(conn, [order.id])
    return await get(conn, number)


def _payment_after(order: Locked, to: State) -> Payment:
    """What the provider says becomes of the money when the order takes this step."""
    provider = PROVIDERS.get(order.payment_provider)
    if provider is None or to not in (State.REJECTED, State.CANCELLED):
        return order.payment_status
    return provider.called_off(order.payment_status)


def _events(
    locked: Sequence[Locked],
    to: State,
    facts: Mapping[int, Facts],
    *,
    actor: str,
    trace: Trace | None,
    now: datetime,
) -> Statement:
    rows = [
        (
            order.id,
            order.last_seq + 1,
            facts[order.id].reason or facts[order.id].tracking,
            trace.message_of(order.id) if trace else None,
            trace.attempt_of(order.id) if trace else None,
            facts[order.id].waited_ms,
        )
        for order in locked
    ]
    statement = _WRITE_EVENTS.of(
        rows,
        status=to.value,
        actor=actor,
        worker=trace.worker if trace else None,
        worked_ms=trace.worked_ms() if trace else None,
        now=now,
    )
    return statement.with_failpoint("P5", [order.id for order in locked]) if trace else statement


async def _held_back(
    conn: AsyncConnection, locked: Sequence[Locked], to: State, *, now: datetime
) -> dict[int, list[str]]:
    """The titles in each of these orders that must not be shipped yet (see `release`)."""
    if to is not State.SHIPPED or not locked:
        return {}
    query = (
        select(order_lines.c.order_id, order_lines.c.title, books.c.on_sale_from)
        .join(books, books.c.id == order_lines.c.book_id)
        .where(
            order_lines.c.order_id.in_([order.id for order in locked]),
            books.c.on_sale_from.is_not(None),
        )
        .order_by(order_lines.c.order_id, order_lines.c.book_id)
    )
    held: dict[int, list[str]] = {}
    for line in await conn.execute(query):
        if not release.is_released(line.on_sale_from, now):
            held.setdefault(line.order_id, []).append(line.title)
    return held


async def _return_to_stock(
    conn: AsyncConnection, order_ids: Sequence[int], *, now: datetime
) -> None:
    """Return the items of cancelled orders, in the order of books in which others lock them."""
    query = (
        select(order_lines.c.order_id, order_lines.c.book_id, order_lines.c.quantity.label("delta"))
        .where(order_lines.c.order_id.in_(order_ids))
        .order_by(order_lines.c.book_id, order_lines.c.order_id)
    )
    lines = (await conn.execute(query)).all()
    if not lines:
        return
    # UNIQUE (order_id, book_id, reason) refuses to return anything twice.
    movements = [{**line._mapping, "reason": "cancelled", "created_at": now} for line in lines]
    await conn.execute(insert(stock_movements), movements)
    for line in lines:
        await conn.execute(
            update(book_stock)
            .where(book_stock.c.book_id == line.book_id)
            .values(stock=book_stock.c.stock + line.delta)
        )


async def _audit_steps(
    conn: AsyncConnection,
    locked: Sequence[Locked],
    to: State,
    payments: Mapping[int, Payment],
    *,
    actor: str,
    now: datetime,
) -> None:
    changes: dict[str, dict[str, list[Any]]] = {}
    for order in locked:
        changes[order.number] = {"status": [order.status, to]}
        if payments[order.id] != order.payment_status:
            payment = [order.payment_status, payments[order.id]]
            changes[order.number]["payment_status"] = payment
    await _audit(conn, "move-order", changes, actor=actor, now=now)


async def _audit(
    conn: AsyncConnection,
    action: str,
    changes: Mapping[str, Mapping[str, list[Any]]],
    *,
    actor: str,
    now: datetime,
) -> None:
    """Record what staff did, by the orders' numbers; customers' steps are in the events alone."""
    kind, _, user_id = actor.partition(":")
    if kind == "staff":
        by = int(user_id) if user_id else None
        await audit.record_many(conn, action, "order", changes, user_id=by, now=now)


async def _lock(conn: AsyncConnection, number: str) -> Locked:
    found = await _lock_where(conn, orders.c.number == number)
    if not found:
        raise NotFound("This order")
    return found[0]


async def _lock_where(conn: AsyncConnection, condition: Any) -> list[Locked]:
    columns = [orders.c[name] for name in Locked._fields]
    query = select(*columns).where(condition).order_by(orders.c.id).with_for_update()
    locked = [Locked(*row) for row in await conn.execute(query)]
    return [
        order._replace(
            status=State.stored(order.status), payment_status=Payment.stored(order.payment_status)
        )
        for order in locked
    ]
