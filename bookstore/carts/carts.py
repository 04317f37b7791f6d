"""Carts: what a visitor wants to buy, kept for guests and for users.

Every change locks the cart's own row first, so that no item slips into a cart while it
is being checked out.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import pricing
from bookstore.database.statements import Bulk, BulkQuery
from bookstore.database.tables import cart_items, carts
from bookstore.errors import BookstoreError, CartFull, Invalid, NotFound, OutOfStock
from bookstore.i18n import sentence

MAX_QUANTITY = 99
#: Different books: an order's lines are worked on in one transaction.
MAX_BOOKS = 200
#: A guest who comes back later has to start anew; their session is over by then, too.
STALE = timedelta(days=30)
#: Carts thrown away in one go, every hour: shoppers must not wait for it.
PURGED_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class CartItem:
    """A book in the cart, at today's price; `problems` are sentences for the customer."""

    book_id: int
    isbn13: str
    title: str
    quantity: int
    unit_price_cents: int
    stock: int
    withdrawn: bool
    #: The price when it was put in, if it was another one.
    old_price_cents: int | None
    problems: list[str]

    @property
    def line_total_cents(self) -> int:
        return self.quantity * self.unit_price_cents


@dataclass(frozen=True, slots=True)
class Cart:
    """A cart with its sums, which are what an order placed now would cost."""

    items: list[CartItem]
    totals: pricing.Totals
    currency: str

    @property
    def item_count(self) -> int:
        return sum(item.quantity for item in self.items)


class _Shelved(NamedTuple):
    """A book that is in a cart, or is to go into it: then it has no quantity yet."""

    book_id: int
    isbn13: str
    title: str
    price_cents: int
    withdrawn: int
    stock: int
    quantity: int | None
    old_price_cents: int | None


class Put(NamedTuple):
    """Copies of a book that are to go into a cart: besides those that are in it, or instead."""

    cart_id: int
    book_id: int
    quantity: int
    besides: bool


#: Every step of a customer's way takes these, so they are written out: constructs cost more
#: than the database does.
_OF_USER = text("SELECT id FROM carts WHERE user_id = :user_id")
_LOCK = Bulk(
    "cart_id BIGINT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN carts AS c {by_key} ON c.id = v.cart_id
    SET c.updated_at = :now
    """,
    sqlite="UPDATE carts SET updated_at = :now WHERE id IN (SELECT cart_id FROM {rows})",
)
_LOOK = BulkQuery(
    "cart_id BIGINT, book_id BIGINT",
    """w.cart_id, i.added_at, b.id, b.isbn13, b.title, b.price_cents, b.withdrawn_at IS NOT NULL,
    s.stock, i.quantity, i.unit_price_cents""",
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
_PUT = Bulk(
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
    """The id of a user's cart; None when they have never put anything into one."""
    cart_id: int | None = await conn.scalar(_OF_USER, {"user_id": user_id})
    return cart_id


async def of_user(conn: AsyncConnection, user_id: int, *, now: datetime) -> int:
    """The id of a user's cart, made when there is none."""
    cart_id = await find_of_user(conn, user_id)
    if cart_id is None:
        try:
            async with conn.begin_nested():
                return await _make(conn, user_id, now)
        except IntegrityError:  # Another request of the same user was quicker.
            query = select(carts.c.id).where(carts.c.user_id == user_id)
            cart_id = await conn.scalar(query.with_for_update())
    assert cart_id is not None
    return cart_id


async def make_guest(conn: AsyncConnection, *, now: datetime) -> int:
    """The id of a new cart that belongs to nobody but the session that remembers it."""
    return await _make(conn, None, now)


async def get(conn: AsyncConnection, cart_id: int | None, rates: pricing.Rates) -> Cart:
    """The cart as it stands now; None is a visitor who has put nothing into one yet."""
    if cart_id is None:
        return priced([], rates)
    return priced((await _look(conn, [(cart_id, None)]))[cart_id].items(), rates)


def priced(items: Sequence[CartItem], rates: pricing.Rates) -> Cart:
    """A cart of these items."""
    sums = [(item.quantity, item.unit_price_cents) for item in items if not item.withdrawn]
    return Cart([*items], pricing.totals(sums, rates), rates.currency)


async def put(
    conn: AsyncConnection, puts: Sequence[Put], *, now: datetime
) -> list[list[CartItem] | BookstoreError]:
    """Put copies of books into carts, one after the other, all in this transaction.

    The answer has for each what is in its cart afterwards, or why it was refused: the book is
    not sold any more (`NotFound`), there are not as many copies (`OutOfStock`), the cart is full
    (`CartFull`), or takes no such quantity (`Invalid`).  What is refused changes nothing, so its
    neighbours need not care.

    Raises:
        NotFound: a cart is gone.
    """
    await _lock(conn, {it.cart_id for it in puts}, now)
    filled = await _look(conn, [(it.cart_id, it.book_id) for it in puts])
    answers: list[list[CartItem] | BookstoreError] = []
    for it in puts:
        cart = filled[it.cart_id]
        had = cart.quantity(it.book_id) if it.besides else 0
        try:
            cart.put(it.book_id, had + it.quantity)
        except BookstoreError as refusal:
            answers.append(refusal)
        else:
            answers.append(cart.items())
    await _write(conn, filled.values(), now)
    return answers


async def add(
    conn: AsyncConnection, cart_id: int, book_id: int, quantity: int, *, now: datetime
) -> list[CartItem]:
    """Put copies of a book into the cart, besides those that are in it already; what is in it
    afterwards.

    Raises:
        NotFound, OutOfStock, CartFull, Invalid: as `put` says.
    """
    [answer] = await put(conn, [Put(cart_id, book_id, quantity, besides=True)], now=now)
    if isinstance(answer, BookstoreError):
        raise answer
    return answer


async def remove(conn: AsyncConnection, cart_id: int, book_id: int, *, now: datetime) -> None:
    """Take a book out of the cart; one that is not in it is fine."""
    await _lock(conn, {cart_id}, now)
    await conn.execute(
        delete(cart_items).where(cart_items.c.cart_id == cart_id, cart_items.c.book_id == book_id)
    )


async def clear(conn: AsyncConnection, cart_id: int, *, now: datetime) -> None:
    """Take everything out of the cart."""
    await _lock(conn, {cart_id}, now)
    await conn.execute(delete(cart_items).where(cart_items.c.cart_id == cart_id))


async def merge(
    conn: AsyncConnection, guest_cart_id: int, user_id: int, *, now: datetime
) -> list[str]:
    """Put a guest's cart into the user's, at sign-in.

    Quantities add up as far as there are copies.  The answer says in sentences what was
    added and what had to be left.
    """
    cart_id = await of_user(conn, user_id, now=now)
    await _lock(conn, {cart_id, guest_cart_id}, now)
    brought = (await _look(conn, [(guest_cart_id, None)]))[guest_cart_id].items()
    wanted = [(item.book_id, item.title, item.quantity) for item in brought]
    said = await _pour(conn, cart_id, wanted, now)
    await conn.execute(delete(carts).where(carts.c.id == guest_cart_id))
    return said


async def add_again(
    conn: AsyncConnection,
    cart_id: int,
    wanted: Sequence[tuple[int, str, int]],
    *,
    now: datetime,
) -> list[str]:
    """Put the `(book_id, title, quantity)` of an earlier order into the cart, what can be had.

    The answer says in sentences what was added and what had to be left.
    """
    await _lock(conn, {cart_id}, now)
    return await _pour(conn, cart_id, sorted(wanted), now)


async def purge(conn: AsyncConnection, *, now: datetime) -> int:
    """Throw away guests' carts that nobody has touched for long; the number of them."""
    found = await conn.scalars(
        select(carts.c.id)
        .where(carts.c.user_id.is_(None), carts.c.updated_at < now - STALE)
        .order_by(carts.c.id)
        .limit(PURGED_AT_ONCE)
        # A cart that is in use at this moment is not stale.
        .with_for_update(skip_locked=True)
    )
    stale = list(found)
    if stale:
        await conn.execute(delete(carts).where(carts.c.id.in_(stale)))
    return len(stale)


async def _pour(
    conn: AsyncConnection, cart_id: int, wanted: Sequence[tuple[int, str, int]], now: datetime
) -> list[str]:
    """Add what can be had of the `(book_id, title, quantity)`; for each a sentence about it."""
    cart = (await _look(conn, [(cart_id, None), *((cart_id, it[0]) for it in wanted)]))[cart_id]
    said = [_poured(cart, *line) for line in wanted]
    await _write(conn, [cart], now)
    return said


def _poured(cart: "_Filled", book_id: int, title: str, quantity: int) -> str:
    had = cart.quantity(book_id)
    try:
        cart.put(book_id, min(had + quantity, MAX_QUANTITY))
    except NotFound:
        return sentence("%(title)s is not sold any more.", title=title)
    except OutOfStock as short:
        if short.stock <= had:
            return sentence("%(title)s: there are no more copies to add.", title=title)
        cart.put(book_id, short.stock)
        return sentence(
            "%(title)s: we have %(stock)s, so the quantity is %(stock)s.",
            title=title,
            stock=short.stock,
        )
    except CartFull as full:
        return sentence("%(title)s was left out. %(why)s", title=title, why=full.args[0])
    return sentence("%(title)s was added.", title=title)


async def _make(conn: AsyncConnection, user_id: int | None, now: datetime) -> int:
    made = await conn.execute(
        insert(carts).values(user_id=user_id, checkout_no=0, created_at=now, updated_at=now)
    )
    cart_id: int = made.lastrowid
    return cart_id


async def _lock(conn: AsyncConnection, cart_ids: Collection[int], now: datetime) -> None:
    found = await _LOCK(conn, [(cart_id,) for cart_id in sorted(cart_ids)], now=now)
    if found.rowcount < len(cart_ids):
        raise NotFound("This cart")


class _Filled:
    """A cart as it will be, and what of it is still to be written."""

    def __init__(self, cart_id: int) -> None:
        self.cart_id = cart_id
        #: In the order in which they were put in, then those that are to go in.
        self.books: dict[int, _Shelved] = {}
        self.changed: set[int] = set()

    def quantity(self, book_id: int) -> int:
        """How many copies of the book are in it."""
        return (self.books[book_id].quantity or 0) if book_id in self.books else 0

    def items(self) -> list[CartItem]:
        """What is in it."""
        return [_item(it, it.quantity) for it in self.books.values() if it.quantity is not None]

    def put(self, book_id: int, quantity: int) -> None:
        """Have exactly so many copies of the book in it; raises why it cannot be."""
        if not 1 <= quantity <= MAX_QUANTITY:
            raise Invalid(
                "quantity",
                sentence("Between 1 and %(most)s copies of a book, please.", most=MAX_QUANTITY),
            )
        book = self.books.get(book_id)
        if book is None or book.withdrawn:
            raise NotFound("This book")
        if book.stock < quantity:
            raise OutOfStock(book_id, book.stock)
        if book.quantity is None and len(self.items()) >= MAX_BOOKS:
            raise CartFull(MAX_BOOKS)
        self.books[book_id] = book._replace(quantity=quantity, old_price_cents=book.price_cents)
        self.changed.add(book_id)


async def _look(
    conn: AsyncConnection, wanted: Sequence[tuple[int, int | None]]
) -> dict[int, _Filled]:
    """The carts, and of each the books that are to go in, as pairs of their ids."""
    carts_of = {cart_id: _Filled(cart_id) for cart_id, _ in wanted}
    found = await _LOOK(conn, wanted)
    for cart_id, _, *book in sorted(found, key=lambda row: (row[1] is None, row[1:3])):
        shelved = _Shelved(*book)
        carts_of[cart_id].books[shelved.book_id] = shelved
    return carts_of


async def _write(conn: AsyncConnection, filled: Iterable[_Filled], now: datetime) -> None:
    # By book, not by cart: the foreign key locks book rows, and all lock them in one order.
    rows = sorted(
        (book_id, cart.cart_id, cart.books[book_id].quantity, cart.books[book_id].price_cents)
        for cart in filled
        for book_id in cart.changed
    )
    if rows:
        await _PUT(conn, rows, now=now)


def _item(book: _Shelved, quantity: int) -> CartItem:
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
        problems=_problems(book, quantity),
    )


def _problems(book: _Shelved, quantity: int) -> list[str]:
    if book.withdrawn:
        return ["This book is not sold any more. Please remove it."]
    problems = []
    if book.stock == 0:
        problems.append("Sold out.")
    elif book.stock < quantity:
        problems.append(f"You asked for {quantity}, we have {book.stock}.")
    if book.old_price_cents is not None and book.old_price_cents != book.price_cents:
        went = "up" if book.price_cents > book.old_price_cents else "down"
        problems.append(f"The price went {went} since you put it in.")
    return problems
