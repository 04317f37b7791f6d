"""The checkout: carts become placed orders, those that wait at the same moment together."""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import idempotency, notifications, pricing
from bookstore.database.engine import (
    LOCK_WAIT_TIMEOUT,
    notify,
    request_deadline,
    retry_batch,
    transaction,
)
from bookstore.database.failpoints import failpoint
from bookstore.database.group_commit import GroupCommit
from bookstore.database.statements import Bulk, BulkQuery, ask, in_one_trip
from bookstore.errors import (
    BookstoreError,
    BookWithdrawn,
    CartEmpty,
    IdempotencyKeyReused,
    PriceChanged,
    RequestInProgress,
)
from bookstore.i18n import DEFAULT, Language
from bookstore.orders import orders
from bookstore.orders.orders import Line, Order
from bookstore.orders.states import State
from bookstore.payments import Payment
from bookstore.tasks import outbox

#: How long a repeat waits for the request it repeats.
PATIENCE_S = 1.0
#: Above this the transaction itself gets long; measured best between 20 and 60.
GROUP = 50
#: After a shared transaction the next one waits for those who come again, so many times as long
#: as it took: with 32 customers at once, 26 share one instead of 16, and are answered sooner.
REST = 1.5
#: Crockford's base 32, without letters that are taken for others: 12 of them are 60 bits.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class CheckoutRequest:
    """A customer wants to order what is in the cart."""

    key: idempotency.Key
    request_hash: str
    cart_id: int
    user_id: int | None
    email: str
    shipping_address: Mapping[str, Any]
    note: str | None = None
    #: In which its letters are to be.
    language: Language = DEFAULT
    #: What the customer agreed to pay; None agrees to anything.
    expected_total_cents: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """The order, and whether it had been placed by an earlier request with the same key."""

    order: Order
    replayed: bool


@dataclass(frozen=True, slots=True)
class _Draft:
    """An order that is about to be written: what the wish and the cart say together."""

    wish: CheckoutRequest
    number: str
    checkout_no: int
    lines: Sequence[Line]
    rates: pricing.Rates


class Checkouts:
    """The checkouts of one process.  Those that wait at the same moment share a transaction."""

    def __init__(
        self,
        engine: AsyncEngine,
        tariff: pricing.Tariff,
        *,
        watch: Callable[[int], object] = lambda together: None,
    ) -> None:
        self._engine = engine
        self._tariff = tariff
        self._together = GroupCommit(self._check_out, limit=GROUP, rest=REST, watch=watch)
        self._running: dict[idempotency.Key, asyncio.Task[Placed]] = {}

    async def place(self, wish: CheckoutRequest, *, waited_s: float = 0.0) -> Placed:
        """Place the order, or find it if a request with the same key placed it before.

        `waited_s` is for how long the customer has waited for the database before.

        Raises:
            CartEmpty, BookWithdrawn, NotDelivered, PriceChanged: the cart cannot be ordered as
                it is, or not to there.
            IdempotencyKeyReused: the key belongs to another request.
            RequestInProgress: the first request with this key is still running.
            TimeoutError: the database stands still; whether the order was placed is unknown.
        """
        failpoint("W0")
        # A transaction's own limit is not enough: others may have their turn before this one.
        async with request_deadline(self._engine, waited_s=waited_s):
            first = self._running.get(wish.key)
            if first is None:
                return await asyncio.shield(self._run(wish))
            # Without a connection of its own: many repeats must not keep others out.
            await asyncio.wait([first], timeout=PATIENCE_S)
            if not first.done():
                raise RequestInProgress
            return await self._place(wish)

    def _run(self, wish: CheckoutRequest) -> asyncio.Task[Placed]:
        running = asyncio.create_task(self._place(wish))
        self._running[wish.key] = running
        running.add_done_callback(lambda done: self._forget(wish.key, done))
        return running

    def _forget(self, key: idempotency.Key, done: asyncio.Task[Placed]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # Its caller may have gone, and an error that nobody saw is logged.

    async def _place(self, wish: CheckoutRequest) -> Placed:
        try:
            return await self._together(wish)
        except OperationalError as error:
            if error.orig and error.orig.args[0] == LOCK_WAIT_TIMEOUT:
                raise RequestInProgress from error  # In another process: it has the cart.
            raise

    async def _check_out(self, wishes: list[CheckoutRequest]) -> Sequence[Placed | Exception]:
        async def work() -> Sequence[Placed | BookstoreError]:
            async with transaction(self._engine) as conn:
                answers = await check_out(conn, wishes, self._tariff, now=datetime.now(UTC))
                failpoint("W4")
            failpoint("W5")
            return answers

        return await retry_batch(work, len(wishes))


_LOCK = BulkQuery(
    "cart_id BIGINT",
    "c.id, c.checkout_no",
    "FROM {rows} AS v {join} carts AS c {by_key} ON c.id = v.cart_id {for_update}",
)
_ITEMS = BulkQuery(
    "cart_id BIGINT",
    "i.cart_id, b.id, b.isbn13, b.title, i.quantity, b.price_cents, b.withdrawn_at IS NOT NULL",
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
    wishes: Sequence[CheckoutRequest],
    tariff: pricing.Tariff,
    *,
    now: datetime,
) -> list[Placed | BookstoreError]:
    """Turn carts into placed orders, all in this transaction, and empty them.

    The answer has a placed order or a refusal for each wish.  A refused wish changes
    nothing, so its neighbours need not care.  Two wishes for one cart: the first gets it.
    """
    # Locked before the keys are looked up: a repeat in another process waits here, and
    # then finds the key that the first request has written.
    carts: dict[int, int] = dict(await _LOCK(conn, sorted({(wish.cart_id,) for wish in wishes})))
    keys, items = await ask(
        conn,
        idempotency.finding({wish.key for wish in wishes}),
        _ITEMS.of([(cart_id,) for cart_id in carts]),
    )
    used = idempotency.used(keys)
    earlier = await orders.by_ids(conn, [use.order_id for use in used.values()]) if used else {}
    contents = _contents(items)
    answers: dict[int, Placed | BookstoreError] = {}
    drafts: dict[int, _Draft] = {}
    for place, wish in enumerate(wishes):
        use = used.get(wish.key)
        if use is not None:
            answers[place] = (
                Placed(_as_placed(earlier[use.order_id]), replayed=True)
                if use.request_hash == wish.request_hash
                else IdempotencyKeyReused()
            )
            continue
        lines, withdrawn = contents.get(wish.cart_id, ([], []))
        try:
            rates = _rates(wish, lines, withdrawn, tariff)
        except BookstoreError as refusal:
            answers[place] = refusal
            continue
        drafts[place] = _Draft(wish, _new_number(), carts[wish.cart_id], lines, rates)
        del contents[wish.cart_id]
    placed = await _place(conn, list(drafts.values()), now=now)
    answers |= {
        place: Placed(order, replayed=False) for place, order in zip(drafts, placed, strict=True)
    }
    return [answers[place] for place in range(len(wishes))]


def _contents(found: Iterable[list[Any]]) -> dict[int, tuple[list[Line], list[str]]]:
    """The lines of each cart that has any, ascending by book, and the titles not sold any more."""
    contents: dict[int, tuple[list[Line], list[str]]] = {}
    for cart_id, book_id, isbn13, title, quantity, price_cents, is_withdrawn in sorted(found):
        lines, withdrawn = contents.setdefault(cart_id, ([], []))
        lines.append(Line(book_id, isbn13, title, quantity, price_cents))
        if is_withdrawn:
            withdrawn.append(title)
    return contents


def _rates(
    wish: CheckoutRequest, lines: Sequence[Line], withdrawn: Sequence[str], tariff: pricing.Tariff
) -> pricing.Rates:
    """The rules for this order, if it can be placed.

    Raises:
        CartEmpty, BookWithdrawn, NotDelivered, PriceChanged: it cannot.
    """
    if not lines:
        raise CartEmpty
    if withdrawn:
        raise BookWithdrawn(withdrawn)
    rates = tariff.to(wish.shipping_address["country"])
    total_cents = _totals(lines, rates).total_cents
    if wish.expected_total_cents not in (None, total_cents):
        raise PriceChanged(wish.expected_total_cents, total_cents)
    return rates


async def _place(conn: AsyncConnection, drafts: Sequence[_Draft], *, now: datetime) -> list[Order]:
    """Write the orders, and in the same transaction all that must happen next."""
    if not drafts:
        return []
    checkouts = [(draft.wish.cart_id, draft.checkout_no) for draft in drafts]
    inserting = _INSERT.of([_row(draft) for draft in drafts], now=now)
    found = await in_one_trip(conn, inserting, answer=_IDS.of(checkouts))
    ids: dict[str, int] = dict(found)
    placed = [_order(ids[draft.number], draft, now=now) for draft in drafts]
    # By book, not by order: the foreign key locks book rows, and all lock them in one order.
    lines = sorted(
        (line.book_id, order.id, line.isbn13, line.title, line.quantity, line.unit_price_cents)
        for order in placed
        for line in order.items
    )
    actors = [(order.id, "customer" if order.user_id else "guest") for order in placed]
    cart_ids = sorted((draft.wish.cart_id,) for draft in drafts)
    pairs = list(zip(placed, (draft.wish for draft in drafts), strict=True))
    uses = {wish.key: idempotency.Use(wish.request_hash, order.id) for order, wish in pairs}
    request_ids = {order.id: wish.request_id for order, wish in pairs}
    work, order_ids = outbox.Task.PROCESS_ORDERS, [order.id for order in placed]
    outbox.announce(conn, work, order_ids)
    notify(conn, order_ids)
    await notifications.queue_for_orders(
        conn,
        [(order.id, "order-placed", order.user_id, order.email) for order in placed],
        now=now,
        request_ids=request_ids,
        after=[
            _INSERT_LINES.of(lines),
            _INSERT_EVENTS.of(actors, now=now),
            _EMPTY.of(cart_ids),
            _NEXT_CHECKOUT.of(cart_ids, now=now).passing("W2"),
            idempotency.keeping(uses, now=now).passing("W1"),
            outbox.adding(work, order_ids, now=now, request_ids=request_ids).passing("W3"),
        ],
    )
    return placed


def _row(draft: _Draft) -> tuple[Any, ...]:
    wish = draft.wish
    return (
        draft.number,
        wish.cart_id,
        draft.checkout_no,
        wish.user_id,
        wish.email,
        draft.rates.currency,
        json.dumps(dict(wish.shipping_address)),
        _terms(draft.rates),
        wish.note,
        wish.language,
    )


# Most orders have the same terms.
@lru_cache(maxsize=32)
def _terms(rates: pricing.Rates) -> str:
    return json.dumps(rates.to_json())


def _order(order_id: int, draft: _Draft, *, now: datetime) -> Order:
    totals = _totals(draft.lines, draft.rates)
    return Order(
        id=order_id,
        number=draft.number,
        status=State.PLACED,
        payment_status=Payment.UNPAID,
        user_id=draft.wish.user_id,
        email=draft.wish.email,
        items=list(draft.lines),
        currency=draft.rates.currency,
        subtotal_cents=totals.subtotal_cents,
        discount_cents=totals.discount_cents,
        shipping_cents=totals.shipping_cents,
        tax_cents=totals.tax_cents,
        total_cents=None,
        shipping_address=dict(draft.wish.shipping_address),
        note=draft.wish.note,
        reason=None,
        tracking=None,
        last_seq=1,
        placed_at=now,
        updated_at=now,
    )


def _as_placed(order: Order) -> Order:
    """The order as its first request was answered, whatever has happened to it since."""
    return replace(
        order,
        status=State.PLACED,
        payment_status=Payment.UNPAID,
        total_cents=None,
        reason=None,
        tracking=None,
        last_seq=1,
        updated_at=order.placed_at,
    )


def _totals(lines: Sequence[Line], rates: pricing.Rates) -> pricing.Totals:
    return pricing.totals([(line.quantity, line.unit_price_cents) for line in lines], rates)


def _new_number() -> str:
    # 256 is a multiple of 32, so each letter is as likely as any other.
    letters = "".join(ALPHABET[byte % 32] for byte in secrets.token_bytes(12))
    return f"{letters[:4]}-{letters[4:8]}-{letters[8:]}"
