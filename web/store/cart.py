"""The cart: quantities, and problems at the line they are about."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts
from bookstore.carts import Cart, CartItem
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading, retry_transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import BookstoreError, NotFound
from bookstore.i18n import _
from bookstore.orders import bestsellers
from bookstore.pricing import Rates
from web.api.carts import changed, filled
from web.auth import guest_cart as visitors
from web.server.keys import ENGINE, RATES
from web.server.request_context import now
from web.store import flash, forms
from web.store.rendering import page


async def show(request: web.Request) -> web.Response:
    """GET /cart."""
    cart, lines = await load(request)
    rates = request.config_dict[RATES]
    totals = cart.totals
    return await page(
        request,
        "cart.html",
        cart=cart,
        lines=lines,
        blocked=is_blocked(cart),
        cart_count=cart.item_count,
        to_free_cents=rates.free_shipping_from_cents - totals.subtotal_cents
        if totals.shipping_cents
        else 0,
    )


async def add(request: web.Request) -> web.Response:
    """POST /cart: put a book in, and show the cart; minus and plus only change the form."""
    form = await forms.read(request)
    book_id = int(form["book_id"]) if form.get("book_id", "").isdecimal() else 0
    if not 0 < book_id <= LARGEST_ID:
        raise NotFound("This book")
    copies = forms.quantity(form)
    if "step" in form:
        raise web.HTTPSeeOther(f"/books/{book_id}?copies={max(1, copies)}")
    try:
        await filled(request, book_id, copies, besides=True)
    except NotFound:
        raise
    except BookstoreError as error:
        await flash.leave(request, "bad", error.said())
        raise web.HTTPSeeOther(f"/books/{book_id}") from None
    await flash.leave(request, "ok", _("It is in your cart."))
    raise web.HTTPSeeOther("/cart")


async def change(request: web.Request) -> web.Response:
    """POST /cart/{book_id}: another quantity; none takes the book out."""
    form = await forms.read(request)
    book_id = int(request.match_info["book_id"])
    copies = 0 if "remove" in form else forms.quantity(form)

    async def take_out(conn: AsyncConnection, cart_id: int) -> None:
        await carts.remove(conn, cart_id, book_id, now=now())

    try:
        if copies:
            await filled(request, book_id, copies, besides=False)
        else:
            await changed(request, take_out, make=False)
    except BookstoreError as error:
        await flash.leave(request, "bad", error.said())
    raise web.HTTPSeeOther("/cart")


async def load(
    request: web.Request, rates: Rates | None = None
) -> tuple[Cart, list[tuple[CartItem, Book]]]:
    """The visitor's cart, and its lines with their books; without `rates` at those of home."""
    rates = rates or request.config_dict[RATES]

    async def work() -> tuple[Cart, dict[int, Book]]:
        async with reading(request.config_dict[ENGINE]) as conn:
            cart_id = await visitors.found(request, conn)
            cart = await carts.get(conn, cart_id, rates)
            return cart, await bestsellers.by_ids(conn, [item.book_id for item in cart.items])

    cart, found = await retry_transaction(work)
    return cart, [(item, found[item.book_id]) for item in cart.items]


def is_blocked(cart: Cart) -> bool:
    """Whether a line has to be settled before the cart can be ordered."""
    return any(item.withdrawn or item.stock < item.quantity for item in cart.items)
