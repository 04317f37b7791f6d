"""The cart of a user or guest."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiohttp import web
from marshmallow import Schema, ValidationError, fields
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts
from bookstore.carts import MAX_QUANTITY, Cart, CartItem, CartWrite
from bookstore.database.engine import retry_transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import (
    CartFull,
    NotDelivered,
    NotFound,
    NotYetOnSale,
    OutOfStock,
    TooManyCopies,
)
from bookstore.users.addresses import COUNTRY_PATTERN, country_code
from web.api.field_types import JsonInteger, described
from web.api.idempotency import REPLAYED, is_replay, key_of
from web.api.operations import Answer, Fields, operation
from web.auth import guest_cart, order_access
from web.server.keys import CART_WRITES, RATES, SESSION_WAIT_S, SETTINGS, TARIFF
from web.server.request_context import now
from web.server.transactions import read, write

#: Changes the cart with this id within a transaction.  May return the items of the changed cart;
#: with None, the caller reads them.
CartChange = Callable[[AsyncConnection, int], Awaitable[Sequence[CartItem] | None]]


class CartItemOut(Schema):
    book_id = fields.Integer(required=True)
    isbn13 = fields.String(required=True)
    title = fields.String(required=True)
    quantity = fields.Integer(required=True)
    unit_price_cents = fields.Integer(required=True)
    line_total_cents = fields.Integer(required=True)
    stock = fields.Integer(required=True)
    problems = described(
        "Problems with this item, as sentences for the customer.",
        fields.List(fields.String(), required=True),
    )


class CartOut(Schema):
    items = fields.List(fields.Nested(CartItemOut), required=True)
    item_count = fields.Integer(required=True)
    subtotal_cents = fields.Integer(required=True, attribute="totals.subtotal_cents")
    discount_cents = fields.Integer(required=True, attribute="totals.discount_cents")
    shipping_cents = fields.Integer(required=True, attribute="totals.shipping_cents")
    tax_cents = described(
        "Contained in the total, not added to it.",
        fields.Integer(required=True, attribute="totals.tax_cents"),
    )
    total_cents = fields.Integer(required=True, attribute="totals.total_cents")
    currency = fields.String(required=True)


def _check_country(country: str) -> None:
    try:
        country_code(country)
    except ValueError:
        raise ValidationError("There is no such country.") from None


class CartQuery(Schema):
    country = described(
        "The country of the shipping address (ISO 3166-1 alpha-2).  Shipping costs and tax depend"
        " on it.  Without it, the country of the store is used.",
        fields.String(
            load_default=None, validate=_check_country, metadata={"pattern": COUNTRY_PATTERN}
        ),
    )


class CartItemIn(Schema):
    book_id = JsonInteger(1, LARGEST_ID, required=True)
    quantity = JsonInteger(1, MAX_QUANTITY, required=True)


class QuantityIn(Schema):
    quantity = JsonInteger(1, MAX_QUANTITY, required=True)


@operation(query=CartQuery, returns=(200, CartOut), refusals=[NotDelivered])
async def show_cart(request: web.Request, query: Fields) -> Cart:
    """Show the cart, with the current prices and the total of an order placed now."""
    rates = request.config_dict[RATES]
    if query["country"] is not None:
        country = country_code(query["country"])
        rates = request.config_dict[TARIFF].rates_for(country)

    async def find(conn: AsyncConnection) -> Cart:
        cart_id = await guest_cart.find(request, conn)
        return await carts.get(conn, cart_id, rates, limit=limit_of(request))

    return await retry_transaction(partial(read, request, find))


@operation(
    body=CartItemIn,
    returns=(200, CartOut),
    refusals=[NotFound, NotYetOnSale, OutOfStock, TooManyCopies, CartFull],
    idempotent=True,
)
async def add_to_cart(request: web.Request, body: Fields) -> Answer:
    """Add a book to the cart.

    If the book is already in the cart, `quantity` is added to its quantity.
    """
    if key_of(request) is None:
        return Answer(await put_in_cart(request, **body, add=True))
    headers: dict[str, str] = {}

    async def change(conn: AsyncConnection, cart_id: int) -> Sequence[CartItem] | None:
        headers.clear()  # Remove the headers of an attempt that was rolled back.
        owner = order_access.idempotency_owner(request, cart_id)
        if await is_replay(request, conn, owner, body, cart_id):
            headers.update(REPLAYED)
            return None
        return await carts.add(conn, cart_id, **body, limit=limit_of(request), now=now())

    return Answer(await change_cart(request, change), headers)


@operation(
    body=QuantityIn,
    returns=(200, CartOut),
    refusals=[NotYetOnSale, OutOfStock, TooManyCopies, CartFull],
)
async def set_cart_quantity(request: web.Request, book_id: int, body: Fields) -> Cart:
    """Set the quantity of a book in the cart."""
    return await put_in_cart(request, book_id, **body, add=False)


@operation(returns=(200, CartOut))
async def remove_from_cart(request: web.Request, book_id: int) -> Cart:
    """Remove a book from the cart.

    The request succeeds if the book is not in the cart.
    """

    async def change(conn: AsyncConnection, cart_id: int) -> None:
        await carts.remove(conn, cart_id, book_id, now=now())

    return await change_cart(request, change, create=False)


@operation(returns=(204, None))
async def clear_cart(request: web.Request) -> None:
    """Remove all items from the cart."""
    await change_cart(request, partial(carts.clear, now=now()), create=False)


def limit_of(request: web.Request) -> int:
    """How many copies of a title an order may have."""
    return request.config_dict[SETTINGS].max_per_title


async def put_in_cart(request: web.Request, book_id: int, quantity: int, *, add: bool) -> Cart:
    """Add `quantity` of a book to the visitor's cart, or with `add=False` set the quantity."""
    cart_id = await guest_cart.find_without_connection(request)
    if cart_id is not None:
        change = CartWrite(cart_id, book_id, quantity, add)
        items = await request.config_dict[CART_WRITES].put(change, waited_s=request[SESSION_WAIT_S])
        return carts.priced(items, request.config_dict[RATES])

    async def add_item(conn: AsyncConnection, new_id: int) -> Sequence[CartItem]:
        return await carts.add(conn, new_id, book_id, quantity, limit=limit_of(request), now=now())

    return await change_cart(request, add_item)


async def change_cart(request: web.Request, change: CartChange, *, create: bool = True) -> Cart:
    """Change the visitor's cart.  With `create=False`, a missing cart is not created."""
    rates = request.config_dict[RATES]

    async def find_and_change(conn: AsyncConnection) -> tuple[int | None, Cart]:
        found = await (guest_cart.get_or_create if create else guest_cart.find)(request, conn)
        items = await change(conn, found) if found is not None else []
        if items is None:
            return found, await carts.get(conn, found, rates, limit=limit_of(request))
        return found, carts.priced(items, rates)

    cart_id, cart = await write(request, find_and_change)
    if cart_id is not None:
        await guest_cart.remember(request, cart_id)
    return cart
