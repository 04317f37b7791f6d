"""Checkout: a cart becomes a placed order.

Requests that wait at the same moment share one transaction (group commit).
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import idempotency, notifications, pricing
from bookstore.carts import MAX_QUANTITY
from bookstore.catalogue import release
from bookstore.database import engine as db
from bookstore.database.failpoints import failpoint
from bookstore.database.group_commit import GroupCommit
from bookstore.database.statements import Bulk, BulkQuery, run_queries, run_statements
from bookstore.errors import (
    BookstoreError,
    BookWithdrawn,
    CartEmpty,
    IdempotencyKeyReused,
    NotYetOnSale,
    PriceChanged,
    RequestInProgress,
    TooManyCopies,
)
from bookstore.i18n import DEFAULT, Language
from bookstore.orders import customer_terms, orders
from bookstore.orders.orders import Order, OrderLine
from bookstore.orders.states import State
from bookstore.payments import Payment
from bookstore.tasks import outbox

#: How long a repeated request waits for the answer of the first one with its key.
REPEAT_TIMEOUT_S = 1.0
#: The largest number of checkouts in one transaction.  Larger groups make the transaction itself
#: slow; measured best between 20 and 60.
MAX_GROUP = 50
#: Delay before the next group, as a multiple of the duration of the last shared transaction.  With
#: 32 clients, 26 instead of 16 checkouts share a transaction, and clients are answered sooner.
DELAY_FACTOR = 1.5
#: Crockford's base 32, without characters that are easily misread: 12 of them carry 60 bits.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


#: What an order has in these fields until the order worker or someone else changes it.
_JUST_PLACED: dict[str, Any] = {
    "status": State.PLACED,
    "payment_status": Payment.UNPAID,
    "total_cents": None,
    "reason": None,
    "tracking": None,
    "last_seq": 1,
}


@dataclass(frozen=True, slots=True)
class CheckoutRequest:
    """One request to order the contents of a cart."""

    key: idempotency.Key
    request_hash: str
    cart_id: int
    user_id: int | None
    email: str
    shipping_address: Mapping[str, Any]
    note: str | None = None
    #: The language of the e-mails about the order.
    language: Language = DEFAULT
    #: The total that the customer was shown; None accepts any total, as long as no price has risen
    #: since the books were put into the cart.
    expected_total_cents: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """The order, and whether it had been placed by an earlier request with the same key."""

    order: Order
    replayed: bool


@dataclass(frozen=True, slots=True)
class _NewOrder:
    """An accepted request, with what is fixed on the order."""

    request: CheckoutRequest
    number: str
    checkout_no: int
    lines: Sequence[OrderLine]
    rates: pricing.Rates


class Checkouts:
    """The checkouts of one process, grouped into shared transactions."""

    def __init__(
        self,
        engine: AsyncEngine,
        tariff: pricing.Tariff,
        *,
        limit: int = MAX_QUANTITY,
        watch: Callable[[int], object] = lambda size: None,
    ) -> None:
        """`limit` is how many copies of a title an order may have."""
        self._engine = engine
        self._limit = limit
        self._tariff = tariff
        self._group = GroupCommit(
            self._check_out, limit=MAX_GROUP, delay_factor=DELAY_FACTOR, on_batch_size=watch
        )
        self._running: dict[idempotency.Key, asyncio.Task[Placed]] = {}

    async def place(self, request: CheckoutRequest, *, waited_s: float = 0.0) -> Placed:
        """Place the order, or find it if a request with the same key has placed it before.

        `waited_s` is how long this HTTP request has already waited for the database; it counts
        towards the deadline.

        Raises:
            CartEmpty, BookWithdrawn, NotYetOnSale, TooManyCopies, NotDelivered, PriceChanged: the
                cart cannot be ordered, or not to this country.
            IdempotencyKeyReused: the key belongs to another request.
            RequestInProgress: the first request with this key is still running.
            TimeoutError: the database does not answer; whether the order was placed is unknown.
        """
        failpoint("W0")
        # The deadline of a transaction is not enough: this request may wait for others first.
        async with db.request_deadline(self._engine, waited_s=waited_s):
            first = self._running.get(request.key)
            if first is None:
                return await asyncio.shield(self._run(request))
            # Wait without a connection, so that many repeats do not exhaust the pool.
            await asyncio.wait([first], timeout=REPEAT_TIMEOUT_S)
            if not first.done():
                raise RequestInProgress
            return await self._place(request)

    def _run(self, request: CheckoutRequest) -> asyncio.Task[Placed]:
        running = asyncio.create_task(self._place(request))
        self._running[request.key] = running
        running.add_done_callback(lambda done: self._forget(request.key, done))
        return running

    def _forget(self, key: idempotency.Key, done: asyncio.Task[Placed]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # Retrieved here: asyncio logs an exception that no caller reads.

    async def _place(self, request: CheckoutRequest) -> Placed:
        try:
            return await self._group(request)
        except OperationalError as error:
            if error.orig and error.orig.args[0] == db.LOCK_WAIT_TIMEOUT:
                # The first request runs in another process and holds the lock on the cart.
                raise RequestInProgress from error
            raise

    async def _check_out(self, requests: list[CheckoutRequest]) -> Sequence[Placed | Exception]:
        async def work() -> Sequence[Placed | BookstoreError]:
            async with db.transaction(self._engine) as conn:
                now = datetime.now(UTC)
                answers = await check_out(conn, requests, self._tariff, limit=self._limit, now=now)
                failpoint("W4")
            failpoint("W5")
            return answers

        return await db.retry_batch(work, len(requests))


_LOCK = BulkQuery(
    "cart_id BIGINT",
    "c.id, c.checkout_no",
    "FROM {rows} AS v {join} carts AS c {by_key} ON c.id = v.cart_id {for_update}",
)
_ITEMS = BulkQuery(
    "cart_id BIGINT",
    "i.cart_id, b.id, b.isbn13, b.title, i.quantity, b.price_cents, b.withdrawn_at IS NOT NULL,"
    " b.on_sale_from, i.unit_price_cents",
    """
    FROM {rows} AS v {join} cart_items AS i ON i.cart_id = v.cart_id
    {join} books AS b ON b.id = i.book_id
    """,
)
_NEXT_CHECKOUT = Bulk(
    "cart_id BIGINT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN carts AS c {by_key} ON c.id = v.cart_id
    SET c.checkout_no = c.checkout_no + 1, c.updated_at = :now
    """,
    sqlite="""
    UPDATE carts SET checkout_no = checkout_no + 1, updated_at = :now
    WHERE id IN (SELECT cart_id FROM {rows})
    """,
)
_EMPTY = Bulk(
    "cart_id BIGINT",
    "DELETE i FROM {rows} AS v STRAIGHT_JOIN cart_items AS i ON i.cart_id = v.cart_id",
    sqlite="DELETE FROM cart_items WHERE cart_id IN (SELECT cart_id FROM {rows})",
)
_INSERT = Bulk(
    "number VARCHAR(14), cart_id BIGINT, checkout_no INT, user_id BIGINT, email VARCHAR(254),"
    " currency VARCHAR(3), shipping_address TEXT, terms TEXT, note VARCHAR(1000),"
    " language VARCHAR(8)",
    """
    INSERT INTO orders (number, cart_id, checkout_no, user_id, email, status, payment_status,
        currency, shipping_address, terms, note, language, last_seq, placed_at, updated_at)
    SELECT v.number, v.cart_id, v.checkout_no, v.user_id, v.email, 'placed', 'unpaid',
        v.currency, v.shipping_address, v.terms, v.note, v.language, 1, :now, :now
    FROM {rows} AS v
    """,
)
_IDS = BulkQuery(
    "cart_id BIGINT, checkout_no INT",
    "o.number, o.id",
    """
    FROM {rows} AS v
    {join} orders AS o ON o.cart_id = v.cart_id AND o.checkout_no = v.checkout_no
    """,
)
_INSERT_LINES = Bulk(
    "book_id BIGINT, order_id BIGINT, isbn13 VARCHAR(13), title VARCHAR(500), quantity INT,"
    " unit_price_cents INT",
    """
    INSERT INTO order_lines (order_id, book_id, isbn13, title, quantity, unit_price_cents)
    SELECT v.order_id, v.book_id, v.isbn13, v.title, v.quantity, v.unit_price_cents
    FROM {rows} AS v
    """,
)
_INSERT_EVENTS = Bulk(
    "order_id BIGINT, actor VARCHAR(100)",
    """
    INSERT INTO order_events (order_id, seq, kind, at, actor)
    SELECT v.order_id, 1, 'placed', :now, v.actor FROM {rows} AS v
    """,
)


async def check_out(
    conn: AsyncConnection,
    requests: Sequence[CheckoutRequest],
    tariff: pricing.Tariff,
    *,
    limit: int = MAX_QUANTITY,
    now: datetime,
) -> list[Placed | BookstoreError]:
    """Place one order for each request and empty its cart, all in this transaction.

    Returns a placed order or a refusal for each request, in their order.  A refused request
    changes nothing, so the others in the group are not affected.  Of two requests for one cart
    the first is placed.
    """
    # Lock the carts before looking up the keys: a repeat in another process waits for the lock and
    # then finds the key that the first request wrote.
    cart_ids = sorted({(request.cart_id,) for request in requests})
    carts: dict[int, int] = dict(await _LOCK(conn, cart_ids))
    keys, items = await run_queries(
        conn,
        idempotency.find_statement({request.key for request in requests}),
        _ITEMS.of([(cart_id,) for cart_id in carts]),
    )
    used = idempotency.parse_found(keys)
    earlier = await orders.by_ids(conn, [use.order_id for use in used.values()]) if used else {}
    contents = _contents(items, now)
    answers: dict[int, Placed | BookstoreError] = {}
    new_orders: dict[int, _NewOrder] = {}
    for place, request in enumerate(requests):
        use = used.get(request.key)
        if use is not None:
            answers[place] = (
                Placed(_as_placed(earlier[use.order_id]), replayed=True)
                if use.request_hash == request.request_hash
                else IdempotencyKeyReused()
            )
            continue
        content = contents.get(request.cart_id, _Content())
        try:
            rates = _rates(request, content, tariff, limit)
        except BookstoreError as refusal:
            answers[place] = refusal
            continue
        checkout_no = carts[request.cart_id]
        new_orders[place] = _NewOrder(request, _new_number(), checkout_no, content.lines, rates)
        del contents[request.cart_id]
    placed = await _place(conn, list(new_orders.values()), now=now)
    for place, order in zip(new_orders, placed, strict=True):
        answers[place] = Placed(order, replayed=False)
    return [answers[place] for place in range(len(requests))]


@dataclass(frozen=True, slots=True)
class _Content:
    """The lines of a cart in order of book, with what decides whether they can be ordered."""

    lines: list[OrderLine] = field(default_factory=list)
    #: The titles that have been withdrawn.
    withdrawn: list[str] = field(default_factory=list)
    #: The titles that must not be sold yet.
    forthcoming: list[str] = field(default_factory=list)
    #: The quantity and the price of each line when it was last put into the cart.
    agreed: list[tuple[int, int]] = field(default_factory=list)


def _contents(found: Iterable[list[Any]], now: datetime) -> dict[int, _Content]:
    """The content of each cart that has any."""
    contents: dict[int, _Content] = {}
    # A cart has a book once, so the first two columns decide the order.
    for row in sorted(found, key=lambda row: row[:2]):
        cart_id, book_id, isbn13, title, quantity, price_cents, is_withdrawn, day, agreed = row
        content = contents.setdefault(cart_id, _Content())
        content.lines.append(OrderLine(book_id, isbn13, title, quantity, price_cents))
        content.agreed.append((quantity, agreed))
        if is_withdrawn:
            content.withdrawn.append(title)
        if not release.is_released(day, now):
            content.forthcoming.append(title)
    return contents


def _rates(
    request: CheckoutRequest, content: _Content, tariff: pricing.Tariff, limit: int
) -> pricing.Rates:
    """The rates that apply to this order.

    Raises:
        CartEmpty, BookWithdrawn, NotYetOnSale, TooManyCopies, NotDelivered, PriceChanged: it
            cannot be placed.
    """
    if not content.lines:
        raise CartEmpty
    if content.withdrawn:
        raise BookWithdrawn(content.withdrawn)
    if content.forthcoming:
        raise NotYetOnSale(content.forthcoming)
    for line in content.lines:
        if line.quantity > limit:
            raise TooManyCopies(line.title, limit)
    rates = tariff.rates_for(request.shipping_address["country"])
    _check_prices(request, content, rates)
    return rates


def _check_prices(request: CheckoutRequest, content: _Content, rates: pricing.Rates) -> None:
    """Nobody pays more than they agreed to.

    A request with `expected_total_cents` agrees to that total.  Without it, the customer agreed to
    the prices at which the books were put into the cart: each may be lower now, but not higher.

    Raises:
        PriceChanged: the total differs, or a price has risen.
    """
    total_cents = _totals(content.lines, rates).total_cents
    expected = request.expected_total_cents
    if expected is not None:
        if expected != total_cents:
            raise PriceChanged(expected, total_cents)
        return
    pairs = zip(content.lines, content.agreed, strict=True)
    if any(line.unit_price_cents > agreed_cents for line, (_, agreed_cents) in pairs):
        raise PriceChanged(pricing.totals(content.agreed, rates).total_cents, total_cents)


async def _place(
    conn: AsyncConnection, new_orders: Sequence[_NewOrder], *, now: datetime
) -> list[Order]:
    """Write the orders and, in the same transaction, everything that must happen next."""
    if not new_orders:
        return []
    checkouts = [(new.request.cart_id, new.checkout_no) for new in new_orders]
    inserting = _INSERT.of([_row(new) for new in new_orders], now=now)
    found = await run_statements(conn, inserting, answer=_IDS.of(checkouts))
    ids: dict[str, int] = dict(found)
    placed = [_order(ids[new.number], new, now=now) for new in new_orders]
    # Sorted by book: the foreign key locks book rows, and all transactions lock them in that order.
    lines = sorted(
        (line.book_id, order.id, line.isbn13, line.title, line.quantity, line.unit_price_cents)
        for order in placed
        for line in order.items
    )
    terms = sorted(
        (order.id, term)
        for order in placed
        for term in customer_terms.of_address(order.shipping_address)
    )
    actors = [(order.id, "customer" if order.user_id else "guest") for order in placed]
    cart_ids = sorted((new.request.cart_id,) for new in new_orders)
    pairs = list(zip(placed, (new.request for new in new_orders), strict=True))
    uses = {it.key: idempotency.KeyUse(it.request_hash, order.id) for order, it in pairs}
    request_ids = {order.id: request.request_id for order, request in pairs}
    work, order_ids = outbox.Task.PROCESS_ORDERS, [order.id for order in placed]
    adding = outbox.add_statement(work, order_ids, now=now, request_ids=request_ids)
    outbox.announce(conn, work, order_ids)
    db.notify(conn, order_ids)
    await notifications.queue_for_orders(
        conn,
        [(order.id, "order-placed", order.user_id, order.email) for order in placed],
        now=now,
        request_ids=request_ids,
        preceding=[
            _INSERT_LINES.of(lines),
            customer_terms.INSERT.of(terms),
            _INSERT_EVENTS.of(actors, now=now),
            _EMPTY.of(cart_ids),
            _NEXT_CHECKOUT.of(cart_ids, now=now).with_failpoint("W2"),
            idempotency.insert_statement(uses, now=now).with_failpoint("W1"),
            adding.with_failpoint("W3"),
        ],
    )
    return placed


def _row(new: _NewOrder) -> tuple[Any, ...]:
    request = new.request
    return (
        new.number,
        request.cart_id,
        new.checkout_no,
        request.user_id,
        request.email,
        new.rates.currency,
        json.dumps(dict(request.shipping_address)),
        _terms(new.rates),
        request.note,
        request.language,
    )


# Cached, because most orders have the same terms.
@lru_cache(maxsize=32)
def _terms(rates: pricing.Rates) -> str:
    return json.dumps(rates.to_json())


def _order(order_id: int, new: _NewOrder, *, now: datetime) -> Order:
    totals = _totals(new.lines, new.rates)
    return Order(
        **_JUST_PLACED,
        id=order_id,
        number=new.number,
        user_id=new.request.user_id,
        email=new.request.email,
        items=list(new.lines),
        currency=new.rates.currency,
        subtotal_cents=totals.subtotal_cents,
        discount_cents=totals.discount_cents,
        shipping_cents=totals.shipping_cents,
        tax_cents=totals.tax_cents,
        shipping_address=dict(new.request.shipping_address),
        note=new.request.note,
        placed_at=now,
        updated_at=now,
    )


def _as_placed(order: Order) -> Order:
    """The order as the first request was answered, without what has happened since."""
    return replace(order, **_JUST_PLACED, updated_at=order.placed_at)


def _totals(lines: Sequence[OrderLine], rates: pricing.Rates) -> pricing.Totals:
    return pricing.totals([(line.quantity, line.unit_price_cents) for line in lines], rates)


def _new_number() -> str:
    # 256 is a multiple of 32, so each character is as likely as any other.
    digits = "".join(ALPHABET[byte % 32] for byte in secrets.token_bytes(12))
    return f"{digits[:4]}-{digits[4:8]}-{digits[8:]}"
