"""Orders as people see them.  How they change is in `transitions.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import pricing
from bookstore.database.documents import is_damaged
from bookstore.database.pagination import Page, SortOrder, select_page
from bookstore.database.tables import notifications as notification_rows
from bookstore.database.tables import order_events, order_lines, orders, users
from bookstore.errors import NotFound
from bookstore.i18n import DEFAULT, Language, supported_or_default
from bookstore.orders.states import NEXT, State
from bookstore.payments import INVOICE, PROVIDERS, Payment


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One book of an order, with title and price as they were when it was placed."""

    book_id: int
    isbn13: str
    title: str
    quantity: int
    unit_price_cents: int

    @property
    def line_total_cents(self) -> int:
        return self.quantity * self.unit_price_cents


@dataclass(frozen=True, slots=True)
class Order:
    """An order.  `total_cents` is None until the order worker has computed it."""

    id: int
    number: str
    status: State
    payment_status: Payment
    user_id: int | None
    email: str
    items: list[OrderLine]
    currency: str
    subtotal_cents: int
    #: These three are None if the order's terms are damaged.
    discount_cents: int | None
    shipping_cents: int | None
    tax_cents: int | None
    total_cents: int | None
    shipping_address: dict[str, Any]
    note: str | None
    reason: str | None
    tracking: str | None
    last_seq: int
    placed_at: datetime
    updated_at: datetime
    payment_provider: str = INVOICE.code
    #: Of the customer, for e-mails and packing slips.
    language: Language = DEFAULT

    @property
    def amount_due_cents(self) -> int | None:
        """The total, or what it will be when the worker has computed it; None if unknown."""
        if self.total_cents is not None or self.discount_cents is None:
            return self.total_cents
        return self.subtotal_cents - self.discount_cents + (self.shipping_cents or 0)

    @property
    def address_damaged(self) -> bool:
        """Whether the shipping address could not be read."""
        return is_damaged(self.shipping_address)

    @property
    def readable_address(self) -> dict[str, Any] | None:
        """The shipping address; None if it could not be read."""
        return None if self.address_damaged else self.shipping_address

    @property
    def final(self) -> bool:
        return self.status.is_known and self.status not in NEXT

    @property
    def next_payments(self) -> frozenset[Payment]:
        """Where the payment may go from here."""
        provider = PROVIDERS.get(self.payment_provider)
        return provider.steps.get(self.payment_status, frozenset()) if provider else frozenset()


@dataclass(frozen=True, slots=True)
class Event:
    """An event of an order; `id` counts 1, 2, 3 ... within the order."""

    id: int
    kind: str
    at: datetime
    actor: str
    detail: str | None


async def by_id(conn: AsyncConnection, order_id: int) -> Order:
    """The order with this id, which must exist."""
    return (await by_ids(conn, [order_id]))[order_id]


async def get(conn: AsyncConnection, number: str) -> Order:
    """One order.

    Raises:
        NotFound: there is none with this number.
    """
    rows = await conn.execute(select(orders).where(orders.c.number == number))
    found = await _load(conn, rows.all())
    if not found:
        raise NotFound("This order")
    return found[0]


async def by_ids(conn: AsyncConnection, order_ids: Sequence[int]) -> dict[int, Order]:
    """Orders by their internal ids; ids without an order are left out."""
    rows = await conn.execute(select(orders).where(orders.c.id.in_(order_ids)))
    found = await _load(conn, rows.all())
    return {order.id: order for order in found}


async def of_user(
    conn: AsyncConnection,
    user_id: int,
    *,
    status: State | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> Page[Order]:
    """A user's own orders, the newest first."""
    query = select(orders).where(orders.c.user_id == user_id)
    return await _page(conn, query, status, cursor, limit)


async def find(
    conn: AsyncConnection,
    *,
    status: State | None = None,
    q: str | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> Page[Order]:
    """All orders, for staff, the newest first.

    `q` is the beginning of a number or of an e-mail address, part of a title, or an ISBN.
    """
    query = select(orders)
    if q:
        pattern = q.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        of_book = select(order_lines.c.order_id).where(
            or_(
                order_lines.c.isbn13 == q.replace("-", ""),
                order_lines.c.title.like(f"%{pattern}%", escape="\\"),
            )
        )
        query = query.where(
            or_(
                orders.c.number.like(f"{pattern.upper()}%", escape="\\"),
                orders.c.email.like(f"{pattern}%", escape="\\"),
                orders.c.id.in_(of_book),
            )
        )
    return await _page(conn, query, status, cursor, limit)


async def count_by_state(conn: AsyncConnection) -> dict[State, int]:
    """How many orders there are in each state, with any that this release does not know."""
    found = await conn.execute(select(orders.c.status, func.count()).group_by(orders.c.status))
    counts = {State.stored(status): count for status, count in found}
    return dict.fromkeys(State, 0) | counts


async def any_since(conn: AsyncConnection, moment: datetime) -> bool:
    """Whether an order has been placed since then."""
    later = select(orders.c.id).where(orders.c.placed_at >= moment)
    return bool(await conn.scalar(select(exists(later))))


async def events(conn: AsyncConnection, order_id: int, *, after: int = 0) -> list[Event]:
    """The events of an order with an id above `after`, oldest first."""
    found = await conn.execute(
        select(order_events)
        .where(order_events.c.order_id == order_id, order_events.c.seq > after)
        .order_by(order_events.c.seq)
    )
    return [Event(row.seq, row.kind, row.at, row.actor, row.detail) for row in found]


async def claim(conn: AsyncConnection, user_id: int, *, now: datetime) -> list[str]:
    """Assign to a user the guest orders placed with the user's verified address; their numbers.

    A user whose address is not verified gets none.
    """
    own = select(users.c.email_key).where(
        users.c.id == user_id, users.c.email_verified_at.is_not(None), users.c.erased_at.is_(None)
    )
    email_key = await conn.scalar(own)
    if email_key is None:
        return []
    # MariaDB compares addresses without regard to case, and with an index.
    email = orders.c.email if conn.dialect.name == "mysql" else func.lower(orders.c.email)
    found = await conn.execute(
        select(orders.c.id, orders.c.number, orders.c.last_seq)
        .where(email == email_key, orders.c.user_id.is_(None))
        .order_by(orders.c.id)
        .with_for_update()
    )
    claimed = found.all()
    if not claimed:
        return []
    ids = [row.id for row in claimed]
    await conn.execute(
        update(orders)
        .where(orders.c.id.in_(ids))
        .values(user_id=user_id, last_seq=orders.c.last_seq + 1, updated_at=now)
    )
    event = {"kind": "claimed", "at": now, "actor": "customer"}
    claims = [{"order_id": row.id, "seq": row.last_seq + 1, **event} for row in claimed]
    await conn.execute(insert(order_events), claims)
    # Their notifications appear in the user's list from now on.
    await conn.execute(
        update(notification_rows)
        .where(notification_rows.c.order_id.in_(ids))
        .values(user_id=user_id)
    )
    return [row.number for row in claimed]


async def _page(
    conn: AsyncConnection, query: Select[Any], status: State | None, cursor: str | None, limit: int
) -> Page[Order]:
    if status is not None:
        query = query.where(orders.c.status == status)
    newest_first = SortOrder((orders.c.id,), descending=True)
    page = await select_page(conn, query, newest_first, cursor=cursor, limit=limit)
    return page.with_items(await _load(conn, page.items))


async def _load(conn: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Order]:
    lines: dict[int, list[OrderLine]] = {row.id: [] for row in rows}
    found = await conn.execute(
        select(order_lines)
        .where(order_lines.c.order_id.in_(list(lines)))
        .order_by(order_lines.c.order_id, order_lines.c.book_id)
    )
    for row in found:
        lines[row.order_id].append(
            OrderLine(row.book_id, row.isbn13, row.title, row.quantity, row.unit_price_cents)
        )
    return [_order(row, lines[row.id]) for row in rows]


def _order(row: Row[Any], lines: list[OrderLine]) -> Order:
    sums = [(line.quantity, line.unit_price_cents) for line in lines]
    totals = None
    if not is_damaged(row.terms):
        totals = pricing.totals(sums, pricing.Rates.of_json(row.terms))
    return Order(
        id=row.id,
        number=row.number,
        status=State.stored(row.status),
        payment_status=Payment.stored(row.payment_status),
        user_id=row.user_id,
        email=row.email,
        items=lines,
        currency=row.currency,
        subtotal_cents=sum(quantity * price for quantity, price in sums),
        discount_cents=totals.discount_cents if totals else None,
        shipping_cents=totals.shipping_cents if totals else None,
        tax_cents=totals.tax_cents if totals else None,
        total_cents=row.total_cents,
        shipping_address=row.shipping_address,
        note=row.note,
        reason=row.reason,
        tracking=row.tracking,
        last_seq=row.last_seq,
        placed_at=row.placed_at,
        updated_at=row.updated_at,
        payment_provider=row.payment_provider,
        language=supported_or_default(row.language),
    )
