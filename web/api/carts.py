"""The cart: a user's own, or a guest's."""

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts
from bookstore.carts import MAX_QUANTITY, Cart, CartItem, Put
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import CartFull, NotDelivered, NotFound, OutOfStock
from bookstore.users.addresses import COUNTRIES
from web.api.field_types import Count
from web.api.operations import Fields, answer, operation
from web.auth import guest_cart as visitors
from web.server.keys import CART_WRITES, ENGINE, RATES, TARIFF, WAITED_S
from web.server.request_context import now

TAGS = ["cart"]

#: Changes the cart with this id, within a transaction; may tell what is in it afterwards.
Change = Callable[[AsyncConnection, int], Awaitable[Sequence[CartItem] | None]]


class CartItemOut(Schema):
    book_id = fields.Integer(required=True)
    isbn13 = fields.String(required=True)
    title = fields.String(required=True)
    quantity = fields.Integer(required=True)
    unit_price_cents = fields.Integer(required=True)
    line_total_cents = fields.Integer(required=True)
    stock = fields.Integer(required=True)
    problems = fields.List(
        fields.String(), required=True, metadata={"description": "Sentences for the customer."}
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


def _known(country: str) -> None:
    if country not in COUNTRIES:
        raise ValidationError("There is no such country.")


class CartQuery(Schema):
    country = fields.String(
        load_default=None,
        validate=[validate.Regexp("^[A-Z]{2}$"), _known],
        metadata={
            "description": "Where the parcel would go (ISO 3166-1 alpha-2): delivery and tax"
            " differ by country.  Without it, at home."
        },
    )


class CartItemIn(Schema):
    book_id = Count(1, LARGEST_ID, required=True)
    quantity = Count(1, MAX_QUANTITY, required=True)


class QuantityIn(Schema):
    quantity = Count(1, MAX_QUANTITY, required=True)


@operation(query=CartQuery, returns=(200, CartOut), tags=TAGS, refusals=[NotDelivered])
async def show_cart(request: web.Request, query: Fields) -> web.Response:
    """Show the cart, at today's prices: what an order placed now would cost."""
    rates = request.config_dict[RATES]
    if query["country"] is not None:
        rates = request.config_dict[TARIFF].to(query["country"])

    async def work() -> Cart:
        async with reading(request.config_dict[ENGINE]) as conn:
            cart_id = await visitors.found(request, conn)
            return await carts.get(conn, cart_id, rates)

    return answer(CartOut, await retry_transaction(work))


@operation(
    body=CartItemIn, returns=(200, CartOut), tags=TAGS, refusals=[NotFound, OutOfStock, CartFull]
)
async def add_to_cart(request: web.Request, body: Fields) -> web.Response:
    """Put copies of a book into the cart, besides those that are in it already."""
    return answer(CartOut, await filled(request, **body, besides=True))


@operation(body=QuantityIn, returns=(200, CartOut), tags=TAGS, refusals=[OutOfStock, CartFull])
async def set_cart_quantity(request: web.Request, body: Fields) -> web.Response:
    """Have exactly so many copies of a book in the cart."""
    return answer(CartOut, await filled(request, _book_id(request), **body, besides=False))


@operation(returns=(200, CartOut), tags=TAGS)
async def remove_from_cart(request: web.Request) -> web.Response:
    """Take a book out of the cart; one that is not in it is fine."""

    async def change(conn: AsyncConnection, cart_id: int) -> None:
        await carts.remove(conn, cart_id, _book_id(request), now=now())

    return answer(CartOut, await changed(request, change, make=False))


@operation(returns=(204, None), tags=TAGS)
async def clear_cart(request: web.Request) -> web.Response:
    """Take everything out of the cart."""

    async def change(conn: AsyncConnection, cart_id: int) -> None:
        await carts.clear(conn, cart_id, now=now())

    await changed(request, change, make=False)
    return web.Response(status=204)


async def filled(request: web.Request, book_id: int, quantity: int, *, besides: bool) -> Cart:
    """The visitor's cart with so many copies of a book, besides those in it already or in all."""
    cart_id = await visitors.known(request)
    if cart_id is not None:
        wish = Put(cart_id, book_id, quantity, besides)
        items = await request.config_dict[CART_WRITES].put(wish, waited_s=request[WAITED_S])
        return carts.priced(items, request.config_dict[RATES])

    async def change(conn: AsyncConnection, new_id: int) -> Sequence[CartItem]:
        return await carts.add(conn, new_id, book_id, quantity, now=now())

    return await changed(request, change)


async def changed(request: web.Request, change: Change, *, make: bool = True) -> Cart:
    """The visitor's cart after a change; without `make`, one that is not there stays so."""
    rates = request.config_dict[RATES]

    async def work() -> tuple[int | None, Cart]:
        async with transaction(request.config_dict[ENGINE]) as conn:
            found = await (visitors.to_fill if make else visitors.found)(request, conn)
            items = await change(conn, found) if found is not None else []
            if items is None:
                return found, await carts.get(conn, found, rates)
            return found, carts.priced(items, rates)

    cart_id, cart = await retry_transaction(work)
    if cart_id is not None:
        await visitors.remember(request, cart_id)
    return cart


def _book_id(request: web.Request) -> int:
    return int(request.match_info["book_id"])
