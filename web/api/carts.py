"""The cart of a user or guest."""

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts
from bookstore.carts import MAX_QUANTITY, Cart, CartItem, CartWrite
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import CartFull, NotDelivered, NotFound, OutOfStock
from bookstore.users.addresses import COUNTRIES
from web.api.field_types import JsonInteger
from web.api.operations import Fields, answer, operation
from web.auth import guest_cart
from web.server.keys import CART_WRITES, ENGINE, RATES, SESSION_WAIT_S, TARIFF
from web.server.request_context import now

TAGS = ["cart"]

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
    problems = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Problems with this item, as sentences for the customer."},
    )


class CartOut(Schema):
    items = fields.List(fields.Nested(CartItemOut), required=True)
    item_count = fields.Integer(required=True)
    subtotal_cents = fields.Integer(required=True, attribute="totals.subtotal_cents")
    discount_cents = fields.Integer(required=True, attribute="totals.discount_cents")
    shipping_cents = fields.Integer(required=True, attribute="totals.shipping_cents")
    tax_cents = fields.Integer(
        required=True,
        attribute="totals.tax_cents",
        metadata={"description": "Contained in the total, not added to it."},
    )
    total_cents = fields.Integer(required=True, attribute="totals.total_cents")
    currency = fields.String(required=True)


def _check_country(country: str) -> None:
    if country not in COUNTRIES:
        raise ValidationError("There is no such country.")


class CartQuery(Schema):
    country = fields.String(
        load_default=None,
        validate=[validate.Regexp("^[A-Z]{2}$"), _check_country],
        metadata={
            "description": "The country of the shipping address (ISO 3166-1 alpha-2).  Shipping"
            " costs and tax depend on it.  Without it, the country of the store is used."
        },
    )


class CartItemIn(Schema):
    book_id = JsonInteger(1, LARGEST_ID, required=True)
    quantity = JsonInteger(1, MAX_QUANTITY, required=True)


class QuantityIn(Schema):
    quantity = JsonInteger(1, MAX_QUANTITY, required=True)


@operation(query=CartQuery, returns=(200, CartOut), tags=TAGS, refusals=[NotDelivered])
async def show_cart(request: web.Request, query: Fields) -> web.Response:
    """Show the cart, with the current prices and the total of an order placed now."""
    rates = request.config_dict[RATES]
    if query["country"] is not None:
        rates = request.config_dict[TARIFF].rates_for(query["country"])

    async def work() -> Cart:
        async with reading(request.config_dict[ENGINE]) as conn:
            cart_id = await guest_cart.find(request, conn)
            return await carts.get(conn, cart_id, rates)

    return answer(CartOut, await retry_transaction(work))


@operation(
    body=CartItemIn, returns=(200, CartOut), tags=TAGS, refusals=[NotFound, OutOfStock, CartFull]
)
async def add_to_cart(request: web.Request, body: Fields) -> web.Response:
    """Add a book to the cart.

    If the book is already in the cart, `quantity` is added to its quantity.
    """
    return answer(CartOut, await put_in_cart(request, **body, add=True))


@operation(body=QuantityIn, returns=(200, CartOut), tags=TAGS, refusals=[OutOfStock, CartFull])
async def set_cart_quantity(request: web.Request, body: Fields) -> web.Response:
    """Set the quantity of a book in the cart."""
    return answer(CartOut, await put_in_cart(request, _book_id(request), **body, add=False))


@operation(returns=(200, CartOut), tags=TAGS)
async def remove_from_cart(request: web.Request) -> web.Response:
    """Remove a book from the cart.

    The request succeeds if the book is not in the cart.
    """

    async def change(conn: AsyncConnection, cart_id: int) -> None:
        await carts.remove(conn, cart_id, _book_id(request), now=now())

    return answer(CartOut, await change_cart(request, change, create=False))


@operation(returns=(204, None), tags=TAGS)
async def clear_cart(request: web.Request) -> web.Response:
    """Remove all items from the cart."""

    async def change(conn: AsyncConnection, cart_id: int) -> None:
        await carts.clear(conn, cart_id, now=now())

    await change_cart(request, change, create=False)
    return web.Response(status=204)


async def put_in_cart(request: web.Request, book_id: int, quantity: int, *, add: bool) -> Cart:
    """Add `quantity` of a book to the visitor's cart, or with `add=False` set the quantity."""
    cart_id = await guest_cart.find_without_connection(request)
    if cart_id is not None:
        change = CartWrite(cart_id, book_id, quantity, add)
        items = await request.config_dict[CART_WRITES].put(change, waited_s=request[SESSION_WAIT_S])
        return carts.priced(items, request.config_dict[RATES])

    async def add_item(conn: AsyncConnection, new_id: int) -> Sequence[CartItem]:
        return await carts.add(conn, new_id, book_id, quantity, now=now())

    return await change_cart(request, add_item)


async def change_cart(request: web.Request, change: CartChange, *, create: bool = True) -> Cart:
    """Change the visitor's cart.  With `create=False`, a missing cart is not created."""
    rates = request.config_dict[RATES]

    async def work() -> tuple[int | None, Cart]:
        async with transaction(request.config_dict[ENGINE]) as conn:
            found = await (guest_cart.get_or_create if create else guest_cart.find)(request, conn)
            items = await change(conn, found) if found is not None else []
            if items is None:
                return found, await carts.get(conn, found, rates)
            return found, carts.priced(items, rates)

    cart_id, cart = await retry_transaction(work)
    if cart_id is not None:
        await guest_cart.remember(request, cart_id)
    return cart


def _book_id(request: web.Request) -> int:
    return int(request.match_info["book_id"])
