"""Carts: what a visitor wants to buy, kept for guests and for users.

Every change locks the cart's own row first, so that no item slips into a cart while it
is being checked out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import pricing
from bookstore.errors import CartFull, Invalid, NotFound, OutOfStock
from bookstore.locales import sentence
from bookstore.tables import UtcDateTime, cart_items, carts

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


#: Every step of a customer's way takes these, so they are written out: constructs cost more
#: than the database does.
_OF_USER = text("SELECT id FROM carts WHERE user_id = :user_id")
_LOCK = text("UPDATE carts SET updated_at = :now WHERE id = :cart_id").bindparams(
    bindparam("now", type_=UtcDateTime)
)
_LOOK = text(
    """
    SELECT b.id, b.isbn13, b.title, b.price_cents, b.withdrawn_at IS NOT NULL, s.stock,
        i.quantity, i.unit_price_cents
    FROM (SELECT book_id FROM cart_items WHERE cart_id = :cart_id UNION SELECT :book_id) AS w
    JOIN books AS b ON b.id = w.book_id JOIN book_stock AS s ON s.book_id = b.id
    LEFT JOIN cart_items AS i ON i.cart_id = :cart_id AND i.book_id = b.id
    ORDER BY i.added_at IS NULL, i.added_at, b.id
    """
)
_INSERT = text(
    """
    INSERT INTO cart_items (cart_id, book_id, quantity, unit_price_cents, added_at)
    VALUES (:cart_id, :book_id, :quantity, :price_cents, :now)
    """
).bindparams(bindparam("now", type_=UtcDateTime))
_UPDATE = text(
    """
    UPDATE cart_items SET quantity = :quantity, unit_price_cents = :price_cents
    WHERE cart_id = :cart_id AND book_id = :book_id
    """
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
    items = [] if cart_id is None else _items(await _look(conn, cart_id))
    return priced(items, rates)


def priced(items: Sequence[CartItem], rates: pricing.Rates) -> Cart:
    """A cart of these items."""
    sums = [(item.quantity, item.unit_price_cents) for item in items if not item.withdrawn]
    return Cart([*items], pricing.totals(sums, rates), rates.currency)


async def add(
    conn: AsyncConnection, cart_id: int, book_id: int, quantity: int, *, now: datetime
) -> list[CartItem]:
    """Put copies of a book into the cart, besides those that are in it already; what is in it
    afterwards.

    Raises:
        NotFound: the book is not sold (any more), or the cart is gone.
        OutOfStock: there are not as many copies.
        CartFull: there are `MAX_BOOKS` different books in it.
        Invalid: fewer than one, or more than a cart takes of one book.
    """
    await _lock(conn, cart_id, now)
    shelf = await _look(conn, cart_id, book_id)
    had = _quantity(shelf, book_id)
    return await _put(conn, cart_id, book_id, had + quantity, shelf, now)


async def set_quantity(
    conn: AsyncConnection, cart_id: int, book_id: int, quantity: int, *, now: datetime
) -> list[CartItem]:
    """Have exactly so many copies of a book in the cart; what is in it afterwards.

    Raises:
        NotFound, OutOfStock, CartFull, Invalid: as for `add`.
    """
    await _lock(conn, cart_id, now)
    shelf = await _look(conn, cart_id, book_id)
    return await _put(conn, cart_id, book_id, quantity, shelf, now)


async def remove(conn: AsyncConnection, cart_id: int, book_id: int, *, now: datetime) -> None:
    """Take a book out of the cart; one that is not in it is fine."""
    await _lock(conn, cart_id, now)
    await conn.execute(
        delete(cart_items).where(cart_items.c.cart_id == cart_id, cart_items.c.book_id == book_id)
    )


async def clear(conn: AsyncConnection, cart_id: int, *, now: datetime) -> None:
    """Take everything out of the cart."""
    await _lock(conn, cart_id, now)
    await conn.execute(delete(cart_items).where(cart_items.c.cart_id == cart_id))


async def merge(
    conn: AsyncConnection, guest_cart_id: int, user_id: int, *, now: datetime
) -> list[str]:
    """Put a guest's cart into the user's, at sign-in.

    Quantities add up as far as there are copies.  The answer says in sentences what was
    added and what had to be left.
    """
    cart_id = await of_user(conn, user_id, now=now)
    for locked in sorted((cart_id, guest_cart_id)):
        await _lock(conn, locked, now)
    sentences = [
        await _pour(conn, cart_id, book.book_id, book.title, book.quantity or 0, now)
        for book in await _look(conn, guest_cart_id)
    ]
    await conn.execute(delete(carts).where(carts.c.id == guest_cart_id))
    return sentences


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
    await _lock(conn, cart_id, now)
    return [await _pour(conn, cart_id, *line, now) for line in sorted(wanted)]


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
    conn: AsyncConnection, cart_id: int, book_id: int, title: str, quantity: int, now: datetime
) -> str:
    shelf = await _look(conn, cart_id, book_id)
    had = _quantity(shelf, book_id)
    wanted = min(had + quantity, MAX_QUANTITY)
    try:
        await _put(conn, cart_id, book_id, wanted, shelf, now)
    except NotFound:
        return sentence("%(title)s is not sold any more.", title=title)
    except OutOfStock as short:
        if short.stock <= had:
            return sentence("%(title)s: there are no more copies to add.", title=title)
        await _put(conn, cart_id, book_id, short.stock, shelf, now)
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


async def _lock(conn: AsyncConnection, cart_id: int, now: datetime) -> None:
    found = await conn.execute(_LOCK, {"cart_id": cart_id, "now": now})
    if found.rowcount == 0:
        raise NotFound("This cart")


async def _look(conn: AsyncConnection, cart_id: int, book_id: int | None = None) -> list[_Shelved]:
    """The books in the cart, in the order they were put in, and the one that is to go in."""
    found = await conn.execute(_LOOK, {"cart_id": cart_id, "book_id": book_id})
    return [_Shelved(*row) for row in found]


def _quantity(shelf: Sequence[_Shelved], book_id: int) -> int:
    return sum(book.quantity or 0 for book in shelf if book.book_id == book_id)


async def _put(
    conn: AsyncConnection,
    cart_id: int,
    book_id: int,
    quantity: int,
    shelf: Sequence[_Shelved],
    now: datetime,
) -> list[CartItem]:
    if not 1 <= quantity <= MAX_QUANTITY:
        raise Invalid(
            "quantity",
            sentence("Between 1 and %(most)s copies of a book, please.", most=MAX_QUANTITY),
        )
    book = next((book for book in shelf if book.book_id == book_id), None)
    if book is None or book.withdrawn:
        raise NotFound("This book")
    if book.stock < quantity:
        raise OutOfStock(book_id, book.stock)
    if book.quantity is None and len(shelf) > MAX_BOOKS:
        raise CartFull(MAX_BOOKS)
    values = {
        "cart_id": cart_id,
        "book_id": book_id,
        "quantity": quantity,
        "price_cents": book.price_cents,
    }
    if book.quantity is None:
        await conn.execute(_INSERT, {**values, "now": now})
    else:
        await conn.execute(_UPDATE, values)
    put = book._replace(quantity=quantity, old_price_cents=book.price_cents)
    return _items([put if other is book else other for other in shelf])


def _items(shelf: Iterable[_Shelved]) -> list[CartItem]:
    return [_item(book, book.quantity) for book in shelf if book.quantity is not None]


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
