"""The cart page, with quantities and the problems of each line."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts
from bookstore.carts import Cart, CartItem
from bookstore.catalogue import books as catalogue_books
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading, retry_transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import BookstoreError, NotFound
from bookstore.i18n import _
from bookstore.pricing import Rates
from web.api.carts import change_cart, limit_of, put_in_cart
from web.auth import guest_cart as visitors
from web.server.keys import ENGINE, RATES
from web.server.request_context import now
from web.store import flash, forms
from web.store.rendering import page


async def show(request: web.Request) -> web.Response:
    """GET /cart."""
    cart, lines = await load(request)
    to_free_cents = 0
    if cart.totals.shipping_cents:
        free_from_cents = request.config_dict[RATES].free_shipping_from_cents
        to_free_cents = free_from_cents - cart.totals.subtotal_cents
    return await page(
        request,
        "cart.html",
        cart=cart,
        lines=lines,
        blocked=is_blocked(cart),
        cart_count=cart.item_count,
        to_free_cents=to_free_cents,
    )


async def add(request: web.Request) -> web.Response:
    """POST /cart: add a book and show the cart.  Minus and plus only change the form."""
    form = await forms.read(request)
    book_id = int(form["book_id"]) if form.get("book_id", "").isdecimal() else 0
    if not 0 < book_id <= LARGEST_ID:
        raise NotFound("This book")
    quantity = forms.quantity(form)
    if "step" in form:
        raise web.HTTPSeeOther(f"/books/{book_id}?quantity={max(1, quantity)}")
    try:
        await put_in_cart(request, book_id, quantity, add=True)
    except NotFound:
        raise
    except BookstoreError as error:
        address = f"/books/{book_id}"
        raise await flash.redirect(request, address, "bad", error.translated()) from None
    raise await flash.redirect(request, "/cart", "ok", _("The book was added to your cart."))


async def change(request: web.Request) -> web.Response:
    """POST /cart/{book_id}: change the quantity; 0 removes the book."""
    form = await forms.read(request)
    book_id = int(request.match_info["book_id"])
    quantity = 0 if "remove" in form else forms.quantity(form)

    async def remove(conn: AsyncConnection, cart_id: int) -> None:
        await carts.remove(conn, cart_id, book_id, now=now())

    try:
        if quantity:
            await put_in_cart(request, book_id, quantity, add=False)
        else:
            await change_cart(request, remove, create=False)
    except BookstoreError as error:
        await flash.add(request, "bad", error.translated())
    raise web.HTTPSeeOther("/cart")


async def load(
    request: web.Request, rates: Rates | None = None
) -> tuple[Cart, list[tuple[CartItem, Book]]]:
    """The visitor's cart, and its lines with their books; `rates` default to the home country's."""
    rates = rates or request.config_dict[RATES]

    async def work() -> tuple[Cart, dict[int, Book]]:
        async with reading(request.config_dict[ENGINE]) as conn:
            cart_id = await visitors.find(request, conn)
            cart = await carts.get(conn, cart_id, rates, limit=limit_of(request))
            return cart, await catalogue_books.by_ids(conn, [item.book_id for item in cart.items])

    cart, found = await retry_transaction(work)
    return cart, [(item, found[item.book_id]) for item in cart.items]


def is_blocked(cart: Cart) -> bool:
    """Whether a problem with a line prevents the checkout."""
    return any(item.blocks_checkout for item in cart.items)
