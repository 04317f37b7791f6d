"""Carts of guests and users.

Every change locks the row of the cart first, so that no item can be added during its checkout.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import pricing
from bookstore.catalogue import release
from bookstore.database.statements import Bulk, BulkQuery
from bookstore.database.tables import cart_items, carts
from bookstore.errors import (
    BookstoreError,
    CartFull,
    Invalid,
    NotFound,
    NotYetOnSale,
    OutOfStock,
    TooManyCopies,
)
from bookstore.i18n import N_, sentence

#: The largest quantity that a cart can store.  `limit` arguments are what an order may have of
#: each title, at most this (`BOOKSTORE_MAX_PER_TITLE`).
MAX_QUANTITY = 99
#: Different books in a cart.  Limited, because all lines of an order share one transaction.
MAX_BOOKS = 200
#: Time since the last change after which a guest's cart is deleted.  The session has expired by
#: then, too.
GUEST_CART_LIFETIME = timedelta(days=30)
#: Carts deleted in one transaction, every hour.  Limited so that customers do not wait for locks.
PURGE_BATCH = 5000


@dataclass(frozen=True, slots=True)
class CartItem:
    """A book in the cart at its current price; `problems` are sentences for the customer."""

    book_id: int
    isbn13: str
    title: str
    quantity: int
    unit_price_cents: int
    stock: int
    withdrawn: bool
    #: The price when the book was added, if it was different; else None.
    old_price_cents: int | None
    problems: list[str]
    #: An order may have this many of each title.
    limit: int = MAX_QUANTITY
    #: Whether it must not be sold yet.
    forthcoming: bool = False

    @property
    def line_total_cents(self) -> int:
        return self.quantity * self.unit_price_cents

    @property
    def blocks_checkout(self) -> bool:
        """Whether the cart cannot be ordered with this item."""
        return self.withdrawn or self.forthcoming or self.quantity > min(self.stock, self.limit)


@dataclass(frozen=True, slots=True)
class Cart:
    """A cart with the totals of an order placed now."""

    items: list[CartItem]
    totals: pricing.Totals
    currency: str

    @property
    def item_count(self) -> int:
        return sum(item.quantity for item in self.items)


class _CartBook(NamedTuple):
    """A book in a cart, or about to be added; `quantity` is None if it is not in the cart."""

    book_id: int
    isbn13: str
    title: str
    price_cents: int
    withdrawn: int
    on_sale_from: str | None
    stock: int
    quantity: int | None
    old_price_cents: int | None


class CartWrite(NamedTuple):
    """A change of one book in a cart.

    With `increment` the quantity is added to the current one, otherwise it replaces it.
    """

    cart_id: int
    book_id: int
    quantity: int
    increment: bool


#: Literal SQL, because these statements run on every cart request and compiling SQLAlchemy
#: constructs takes longer than the database needs to run them.
_OF_USER = text("SELECT id FROM carts WHERE user_id = :user_id")
_LOCK = Bulk(
    "cart_id BIGINT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN carts AS c {by_key} ON c.id = v.cart_id
    SET c.updated_at = :now
    """,
    sqlite="UPDATE carts SET updated_at = :now WHERE id IN (SELECT cart_id FROM {rows})",
)
_LOAD = BulkQuery(
    "cart_id BIGINT, book_id BIGINT",
    """w.cart_id, i.added_at, b.id, b.isbn13, b.title, b.price_cents, b.withdrawn_at IS NOT NULL,
    b.on_sale_from, s.stock, i.quantity, i.unit_price_cents""",
    """
    FROM (
        SELECT i.cart_id, i.book_id
        FROM {rows} AS v {join} cart_items AS i ON i.cart_id = v.cart_id
        UNION SELECT cart_id, book_id FROM {rows} AS v
    ) AS w
    JOIN books AS b ON b.id = w.book_id JOIN book_stock AS s ON s.book_id = b.id
    LEFT JOIN cart_items AS i ON i.cart_id = w.cart_id AND i.book_id = b.id
    """,
)
_UPSERT_ITEMS = Bulk(
    "book_id BIGINT, cart_id BIGINT, quantity INT, price_cents INT",
    """
    INSERT INTO cart_items (cart_id, book_id, quantity, unit_price_cents, added_at)
    SELECT v.cart_id, v.book_id, v.quantity, v.price_cents, :now FROM {rows} AS v
    ON DUPLICATE KEY UPDATE quantity = v.quantity, unit_price_cents = v.price_cents
    """,
    sqlite="""
    INSERT INTO cart_items (cart_id, book_id, quantity, unit_price_cents, added_at)
    SELECT v.cart_id, v.book_id, v.quantity, v.price_cents, :now FROM {rows} AS v WHERE TRUE
    ON CONFLICT DO UPDATE SET quantity = excluded.quantity,
        unit_price_cents = excluded.unit_price_cents
    """,
)


async def find_of_user(conn: AsyncConnection, user_id: int) -> int | None:
    """The id of a user's cart; None when the user has never added a book."""
    cart_id: int | None = await conn.scalar(_OF_USER, {"user_id": user_id})
    return cart_id


async def of_user(conn: AsyncConnection, user_id: int, *, now: datetime) -> int:
    """The id of a user's cart, which is created if there is none."""
    cart_id = await find_of_user(conn, user_id)
    if cart_id is None:
        try:
            async with conn.begin_nested():
                return await _create(conn, user_id, now)
        except IntegrityError:  # Another request of this user has just created it.
            query = select(carts.c.id).where(carts.c.user_id == user_id)
            cart_id = await conn.scalar(query.with_for_update())
    assert cart_id is not None
    return cart_id


async def make_guest(conn: AsyncConnection, *, now: datetime) -> int:
    """Create a cart without a user and return its id, which the session of the guest stores."""
    return await _create(conn, None, now)


async def get(
    conn: AsyncConnection,
    cart_id: int | None,
    rates: pricing.Rates,
    *,
    limit: int = MAX_QUANTITY,
    now: datetime | None = None,
) -> Cart:
    """The cart at `now`, None for the current time.

    A `cart_id` of None stands for an empty cart of a visitor without one.
    """
    if cart_id is None:
        return priced([], rates)
    now = now or datetime.now(UTC)
    return priced((await _load(conn, [(cart_id, None)], limit, now))[cart_id].items(), rates)


def priced(items: Sequence[CartItem], rates: pricing.Rates) -> Cart:
    """A cart with these items and their totals."""
    sums = [(item.quantity, item.unit_price_cents) for item in items if not item.withdrawn]
    return Cart([*items], pricing.totals(sums, rates), rates.currency)


async def put(
    conn: AsyncConnection,
    writes: Sequence[CartWrite],
    *,
    limit: int = MAX_QUANTITY,
    now: datetime,
) -> list[list[CartItem] | BookstoreError]:
    """Set or increment quantities of books in carts, in order, in this transaction.

    The result has for each write the items of its cart afterwards, or the refusal: the book is
    not for sale (`NotFound`) or not yet (`NotYetOnSale`), there is not enough stock
    (`OutOfStock`), an order may not have so many of it (`TooManyCopies`), the cart is full
    (`CartFull`) or the quantity is out of range (`Invalid`).  A refused write changes nothing and
    does not affect the others.

    Raises:
        NotFound: a cart does not exist.
    """
    await _lock(conn, {it.cart_id for it in writes}, now)
    pending = await _load(conn, [(it.cart_id, it.book_id) for it in writes], limit, now)
    answers: list[list[CartItem] | BookstoreError] = []
    for it in writes:
        cart = pending[it.cart_id]
        current = cart.quantity(it.book_id) if it.increment else 0
        try:
            cart.put(it.book_id, current + it.quantity)
        except BookstoreError as refusal:
            answers.append(refusal)
        else:
            answers.append(cart.items())
    await _write(conn, pending.values(), now)
    return answers


async def add(
    conn: AsyncConnection,
    cart_id: int,
    book_id: int,
    quantity: int,
    *,
    limit: int = MAX_QUANTITY,
    now: datetime,
) -> list[CartItem]:
    """Add a quantity of a book to the cart and return its items.

    Raises:
        NotFound, NotYetOnSale, OutOfStock, TooManyCopies, CartFull, Invalid: as in `put`.
    """
    write = CartWrite(cart_id, book_id, quantity, increment=True)
    [answer] = await put(conn, [write], limit=limit, now=now)
    if isinstance(answer, BookstoreError):
        raise answer
    return answer


async def remove(conn: AsyncConnection, cart_id: int, book_id: int, *, now: datetime) -> None:
    """Remove a book from the cart; do nothing if it is not in the cart."""
    await _lock(conn, {cart_id}, now)
    await conn.execute(
        delete(cart_items).where(cart_items.c.cart_id == cart_id, cart_items.c.book_id == book_id)
    )


async def clear(conn: AsyncConnection, cart_id: int, *, now: datetime) -> None:
    """Remove all items from the cart."""
    await _lock(conn, {cart_id}, now)
    await conn.execute(delete(cart_items).where(cart_items.c.cart_id == cart_id))


async def merge(
    conn: AsyncConnection,
    guest_cart_id: int,
    user_id: int,
    *,
    limit: int = MAX_QUANTITY,
    now: datetime,
) -> list[str]:
    """Move the items of a guest's cart to the user's cart, at sign-in.

    Quantities add up as far as stock allows.  Returns a sentence for each book: what was added or
    why it was not.
    """
    cart_id = await of_user(conn, user_id, now=now)
    await _lock(conn, {cart_id, guest_cart_id}, now)
    items = (await _load(conn, [(guest_cart_id, None)], limit, now))[guest_cart_id].items()
    lines = [(item.book_id, item.title, item.quantity) for item in items]
    messages = await _add_available(conn, cart_id, lines, limit, now)
    await conn.execute(delete(carts).where(carts.c.id == guest_cart_id))
    return messages


async def add_again(
    conn: AsyncConnection,
    cart_id: int,
    lines: Sequence[tuple[int, str, int]],
    *,
    limit: int = MAX_QUANTITY,
    now: datetime,
) -> list[str]:
    """Add the `(book_id, title, quantity)` of an earlier order to the cart, as stock allows.

    Returns a sentence for each book: what was added or why it was not.
    """
    await _lock(conn, {cart_id}, now)
    return await _add_available(conn, cart_id, sorted(lines), limit, now)


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Delete guests' carts that are past their lifetime; return how many."""
    found = await conn.scalars(
        select(carts.c.id)
        .where(carts.c.user_id.is_(None), carts.c.updated_at < now - GUEST_CART_LIFETIME)
        .order_by(carts.c.id)
        .limit(PURGE_BATCH)
        # A cart that is in use at this moment is not stale.
        .with_for_update(skip_locked=True)
    )
    stale = list(found)
    if stale:
        await conn.execute(delete(carts).where(carts.c.id.in_(stale)))
    return len(stale)


async def _add_available(
    conn: AsyncConnection,
    cart_id: int,
    lines: Sequence[tuple[int, str, int]],
    limit: int,
    now: datetime,
) -> list[str]:
    """Add the `(book_id, title, quantity)` as far as stock allows; return a sentence for each."""
    wanted = [(cart_id, None), *((cart_id, line[0]) for line in lines)]
    cart = (await _load(conn, wanted, limit, now))[cart_id]
    messages = [_add_one(cart, *line) for line in lines]
    await _write(conn, [cart], now)
    return messages


def _add_one(cart: "_PendingCart", book_id: int, title: str, quantity: int) -> str:
    current = cart.quantity(book_id)
    total = min(current + quantity, cart.limit)
    try:
        cart.put(book_id, total)
    except NotFound:
        return sentence("%(title)s is no longer available.", title=title)
    except NotYetOnSale:
        return sentence("%(title)s is not on sale yet.", title=title)
    except OutOfStock as error:
        if error.stock <= current:
            return sentence("%(title)s: no more are in stock.", title=title)
        cart.put(book_id, error.stock)
        message = N_("%(title)s: only %(stock)s in stock, so the quantity is %(stock)s.")
        return sentence(message, title=title, stock=error.stock)
    except CartFull as error:
        message = N_("%(title)s was not added to your cart. %(why)s")
        return sentence(message, title=title, why=error.args[0])
    if total < current + quantity:
        message = N_("%(title)s: you can order at most %(most)s, so the quantity is %(most)s.")
        return sentence(message, title=title, most=total)
    return sentence("%(title)s was added to your cart.", title=title)


async def _create(conn: AsyncConnection, user_id: int | None, now: datetime) -> int:
    result = await conn.execute(
        insert(carts).values(user_id=user_id, checkout_no=0, created_at=now, updated_at=now)
    )
    cart_id: int = result.lastrowid
    return cart_id


async def _lock(conn: AsyncConnection, cart_ids: Collection[int], now: datetime) -> None:
    found = await _LOCK(conn, [(cart_id,) for cart_id in sorted(cart_ids)], now=now)
    if found.rowcount < len(cart_ids):
        raise NotFound("This cart")


class _PendingCart:
    """A cart with its pending changes."""

    def __init__(self, cart_id: int, limit: int, now: datetime) -> None:
        self.cart_id = cart_id
        self.limit = limit
        self._now = now
        #: The books in the cart in the order in which they were added, then the new ones.
        self.books: dict[int, _CartBook] = {}
        self.changed: set[int] = set()

    def quantity(self, book_id: int) -> int:
        """The quantity of the book in the cart."""
        return (self.books[book_id].quantity or 0) if book_id in self.books else 0

    def items(self) -> list[CartItem]:
        """The items of the cart."""
        books = self.books.values()
        return [
            _item(it, it.quantity, self.limit, self._now) for it in books if it.quantity is not None
        ]

    def put(self, book_id: int, quantity: int) -> None:
        """Set the quantity of the book; see the refusals of the module's `put`."""
        if not 1 <= quantity <= MAX_QUANTITY:
            message = sentence("Please enter a quantity from 1 to %(most)s.", most=MAX_QUANTITY)
            raise Invalid("quantity", message)
        book = self.books.get(book_id)
        if book is None or book.withdrawn:
            raise NotFound("This book")
        if not release.is_released(book.on_sale_from, self._now):
            raise NotYetOnSale([book.title])
        if quantity > self.limit:
            raise TooManyCopies(book.title, self.limit)
        if book.stock < quantity:
            raise OutOfStock(book_id, book.stock)
        if book.quantity is None and len(self.items()) >= MAX_BOOKS:
            raise CartFull(MAX_BOOKS)
        self.books[book_id] = book._replace(quantity=quantity, old_price_cents=book.price_cents)
        self.changed.add(book_id)


async def _load(
    conn: AsyncConnection, pairs: Sequence[tuple[int, int | None]], limit: int, now: datetime
) -> dict[int, _PendingCart]:
    """The carts of `(cart_id, book_id)` pairs with their items and, if not None, these books."""
    carts_of = {cart_id: _PendingCart(cart_id, limit, now) for cart_id, _ in pairs}
    found = await _LOAD(conn, pairs)
    for cart_id, _, *book in sorted(found, key=lambda row: (row[1] is None, row[1:3])):
        cart_book = _CartBook(*book)
        carts_of[cart_id].books[cart_book.book_id] = cart_book
    return carts_of


async def _write(conn: AsyncConnection, pending: Iterable[_PendingCart], now: datetime) -> None:
    # Sorted by book: the foreign key locks book rows, and one order of locks avoids deadlocks.
    rows = sorted(
        (book_id, cart.cart_id, cart.books[book_id].quantity, cart.books[book_id].price_cents)
        for cart in pending
        for book_id in cart.changed
    )
    if rows:
        await _UPSERT_ITEMS(conn, rows, now=now)


def _item(book: _CartBook, quantity: int, limit: int, now: datetime) -> CartItem:
    forthcoming = not release.is_released(book.on_sale_from, now)
    changed = book.old_price_cents != book.price_cents
    return CartItem(
        book_id=book.book_id,
        isbn13=book.isbn13,
        title=book.title,
        quantity=quantity,
        unit_price_cents=book.price_cents,
        stock=book.stock,
        withdrawn=bool(book.withdrawn),
        old_price_cents=book.old_price_cents if changed else None,
        problems=_problems(book, quantity, limit, forthcoming),
        limit=limit,
        forthcoming=forthcoming,
    )


def _problems(book: _CartBook, quantity: int, limit: int, forthcoming: bool) -> list[str]:
    if book.withdrawn:
        return ["This book is no longer available. Please remove it."]
    if forthcoming:
        return [N_("This book is not on sale yet. Please remove it.")]
    problems: list[str] = []
    if quantity > limit:
        problems.append(sentence("You can order at most %(most)s of this book.", most=limit))
    if book.stock == 0:
        problems.append("Sold out.")
    elif book.stock < quantity:
        problems.append(f"Quantity {quantity}, but only {book.stock} in stock.")
    if book.old_price_cents is not None and book.old_price_cents != book.price_cents:
        change = "increased" if book.price_cents > book.old_price_cents else "decreased"
        problems.append(f"The price has {change} since you added this book.")
    return problems
