"""Carts: what a visitor wants to buy, kept for guests and for users.

Every change locks the cart's own row first, so that no item slips into a cart while it
is being checked out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import pricing
from bookstore.errors import CartFull, Invalid, NotFound, OutOfStock
from bookstore.tables import book_stock, books, cart_items, carts

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


async def of_user(conn: AsyncConnection, user_id: int, *, now: datetime) -> int:
    """The id of a user's cart, made when there is none."""
    query: Select[Any] = select(carts.c.id).where(carts.c.user_id == user_id)
    cart_id: int | None = await conn.scalar(query)
    if cart_id is None:
        try:
            async with conn.begin_nested():
                return await _make(conn, user_id, now)
        except IntegrityError:  # Another request of the same user was quicker.
            cart_id = await conn.scalar(query.with_for_update())
    assert cart_id is not None
    return cart_id


async def make_guest(conn: AsyncConnection, *, now: datetime) -> int:
    """The id of a new cart that belongs to nobody but the session that remembers it."""
    return await _make(conn, None, now)


async def get(conn: AsyncConnection, cart_id: int | None, rates: pricing.Rates) -> Cart:
    """The cart as it stands now; None is a visitor who has put nothing into one yet."""
    items = [_item(row) for row in await _rows(conn, cart_id)]
    sums = [(item.quantity, item.unit_price_cents) for item in items if not item.withdrawn]
    return Cart(items, pricing.totals(sums, rates), rates.currency)


async def add(
    conn: AsyncConnection, cart_id: int, book_id: int, quantity: int, *, now: datetime
) -> None:
    """Put copies of a book into the cart, besides those that are in it already.

    Raises:
        NotFound: the book is not sold (any more), or the cart is gone.
        OutOfStock: there are not as many copies.
        CartFull: there are `MAX_BOOKS` different books in it.
        Invalid: fewer than one, or more than a cart takes of one book.
    """
    await _lock(conn, cart_id, now)
    await _put(conn, cart_id, book_id, await _quantity(conn, cart_id, book_id) + quantity, now)


async def set_quantity(
    conn: AsyncConnection, cart_id: int, book_id: int, quantity: int, *, now: datetime
) -> None:
    """Have exactly so many copies of a book in the cart.

    Raises:
        NotFound, OutOfStock, CartFull, Invalid: as for `add`.
    """
    await _lock(conn, cart_id, now)
    await _put(conn, cart_id, book_id, quantity, now)


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
        await _pour(conn, cart_id, row.book_id, row.title, row.quantity, now)
        for row in await _rows(conn, guest_cart_id)
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
    had = await _quantity(conn, cart_id, book_id)
    wanted = min(had + quantity, MAX_QUANTITY)
    try:
        await _put(conn, cart_id, book_id, wanted, now)
    except NotFound:
        return f"{title} is not sold any more."
    except OutOfStock as short:
        if short.stock <= had:
            return f"{title}: there are no more copies to add."
        await _put(conn, cart_id, book_id, short.stock, now)
        return f"{title}: we have {short.stock}, so the quantity is {short.stock}."
    except CartFull as full:
        return f"{title} was left out. {full}"
    return f"{title} was added."


async def _make(conn: AsyncConnection, user_id: int | None, now: datetime) -> int:
    made = await conn.execute(
        insert(carts).values(user_id=user_id, checkout_no=0, created_at=now, updated_at=now)
    )
    cart_id: int = made.lastrowid
    return cart_id


async def _lock(conn: AsyncConnection, cart_id: int, now: datetime) -> None:
    found = await conn.execute(update(carts).where(carts.c.id == cart_id).values(updated_at=now))
    if found.rowcount == 0:
        raise NotFound("This cart")


async def _quantity(conn: AsyncConnection, cart_id: int, book_id: int) -> int:
    found = await conn.scalar(
        select(cart_items.c.quantity).where(
            cart_items.c.cart_id == cart_id, cart_items.c.book_id == book_id
        )
    )
    return int(found or 0)


async def _put(
    conn: AsyncConnection, cart_id: int, book_id: int, quantity: int, now: datetime
) -> None:
    if not 1 <= quantity <= MAX_QUANTITY:
        raise Invalid("quantity", f"Between 1 and {MAX_QUANTITY} copies of a book, please.")
    in_cart = select(func.count()).where(cart_items.c.cart_id == cart_id).scalar_subquery()
    book = (
        await conn.execute(
            select(books.c.price_cents, book_stock.c.stock, in_cart.label("in_cart"))
            .join_from(books, book_stock)
            .where(books.c.id == book_id, books.c.withdrawn_at.is_(None))
        )
    ).one_or_none()
    if book is None:
        raise NotFound("This book")
    if book.stock < quantity:
        raise OutOfStock(book_id, book.stock)
    item = (cart_items.c.cart_id == cart_id) & (cart_items.c.book_id == book_id)
    values = {"quantity": quantity, "unit_price_cents": book.price_cents}
    changed = await conn.execute(update(cart_items).where(item).values(values))
    if changed.rowcount == 0:
        if book.in_cart >= MAX_BOOKS:
            raise CartFull(MAX_BOOKS)
        await conn.execute(
            insert(cart_items).values(cart_id=cart_id, book_id=book_id, added_at=now, **values)
        )


async def _rows(conn: AsyncConnection, cart_id: int | None) -> Sequence[Any]:
    if cart_id is None:
        return []
    return (
        await conn.execute(
            select(
                cart_items.c.book_id,
                cart_items.c.quantity,
                cart_items.c.unit_price_cents.label("old_price_cents"),
                books.c.isbn13,
                books.c.title,
                books.c.price_cents,
                books.c.withdrawn_at,
                book_stock.c.stock,
            )
            .join_from(cart_items, books)
            .join(book_stock, book_stock.c.book_id == books.c.id)
            .where(cart_items.c.cart_id == cart_id)
            .order_by(cart_items.c.added_at, cart_items.c.book_id)
        )
    ).all()


def _item(row: Any) -> CartItem:
    return CartItem(
        book_id=row.book_id,
        isbn13=row.isbn13,
        title=row.title,
        quantity=row.quantity,
        unit_price_cents=row.price_cents,
        stock=row.stock,
        withdrawn=row.withdrawn_at is not None,
        old_price_cents=row.old_price_cents if row.old_price_cents != row.price_cents else None,
        problems=_problems(row),
    )


def _problems(row: Any) -> list[str]:
    if row.withdrawn_at is not None:
        return ["This book is not sold any more. Please remove it."]
    problems = []
    if row.stock == 0:
        problems.append("Sold out.")
    elif row.stock < row.quantity:
        problems.append(f"You asked for {row.quantity}, we have {row.stock}.")
    if row.old_price_cents != row.price_cents:
        went = "up" if row.price_cents > row.old_price_cents else "down"
        problems.append(f"The price went {went} since you put it in.")
    return problems
