"""A customer's orders, and the page on which one is followed."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts, i18n, orders
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.pagination import Page
from bookstore.errors import IllegalTransition, RequestInProgress
from bookstore.i18n import _
from bookstore.orders import CUSTOMER_CANCELS, Event, Order, State, bestsellers
from web.api.carts import changed
from web.api.idempotency import done_before
from web.auth import order_access
from web.server.keys import ENGINE, USER
from web.server.request_context import now
from web.store import flash, formatting, forms, guest_orders
from web.store.rendering import page

#: The way of an order for which nothing goes wrong.
_WAY = (State.PLACED, State.CONFIRMED, State.PACKED, State.SHIPPED, State.DELIVERED)
#: After this long an order that is still only placed deserves a word.
_SLOW = timedelta(seconds=30)
_LONGEST_REASON = 500


class Knot(NamedTuple):
    """A knot on the thread: `past`, `now`, `next`, or `over` where the thread was cut."""

    state: State
    place: str
    event: Event | None


async def show_all(request: web.Request) -> web.Response:
    """GET /orders: a user's own; a guest's, as far as the session knows them."""
    user = request[USER]
    cursor = request.query.get("cursor")
    async with reading(request.config_dict[ENGINE]) as conn:
        if user is None:
            found = Page(await guest_orders.of_guest(request, conn), None)
        else:
            found = await orders.of_user(conn, user.id, cursor=cursor)
    return await page(
        request,
        "orders.html",
        orders=[(order, guest_orders.address_of(request, order)) for order in found.items],
        cursor=cursor,
        next=found.next,
    )


async def show(request: web.Request) -> web.Response:
    """GET /orders/{number}: the page that a customer keeps open."""
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await order_access.opened(request, conn, request.query.get("access_token"))
        events = await orders.events(conn, order.id)
        books: Mapping[int, Book] = await bestsellers.by_ids(
            conn, [line.book_id for line in order.items]
        )
    return await page(
        request,
        "order.html",
        order=order,
        lines=[(line, books[line.book_id]) for line in order.items],
        thread=_thread(order, events),
        slow=order.status is State.PLACED and now() - order.placed_at > _SLOW,
        checked_at=now(),
        can_cancel=order.status in CUSTOMER_CANCELS,
        address=guest_orders.address_of(request, order),
        cancel_address=guest_orders.address_of(request, order, "/cancel"),
        key=forms.new_key(),
        reorder_address=guest_orders.address_of(request, order, "/reorder"),
        stream_address=guest_orders.stream_of(request, order),
    )


async def cancel(request: web.Request) -> web.Response:
    """POST /orders/{number}/cancel."""
    form = await forms.read(request)
    reason = " ".join(form.get("reason", "").split())[:_LONGEST_REASON] or None

    async def work() -> Order:
        async with transaction(request.config_dict[ENGINE]) as conn:
            order = await order_access.opened(request, conn, request.query.get("access_token"))
            return await orders.cancel(
                conn,
                order.number,
                actor=order_access.actor(request, order),
                by_staff=False,
                reason=reason,
                now=now(),
            )

    try:
        order = await retry_transaction(work)
    except IllegalTransition as error:
        text = _("This order cannot be cancelled here any more. It stands as: %s.")
        await flash.leave(request, "bad", text % formatting.state_name(error.status))
        raise web.HTTPSeeOther(_back(request)) from None
    raise web.HTTPSeeOther(guest_orders.address_of(request, order))


async def reorder(request: web.Request) -> web.Response:
    """POST /orders/{number}/reorder: its books go into the cart, those that can be had, once."""
    key = forms.key_of(await forms.read(request))

    async def fill(conn: AsyncConnection, cart_id: int) -> None:
        order = await order_access.opened(request, conn, request.query.get("access_token"))
        owner = order_access.key_owner(request, cart_id)
        if await done_before(request, conn, owner, key, cart_id):
            said[:] = [_("You had asked for this already, so nothing was added a second time.")]
            return
        wanted = [(line.book_id, line.title, line.quantity) for line in order.items]
        said[:] = await carts.add_again(conn, cart_id, wanted, now=now())

    said: list[str] = []
    try:
        await changed(request, fill)
    except RequestInProgress:
        said[:] = [
            _("Your books are on their way into your cart. Load the page again in a moment.")
        ]
    for sentence in said:
        await flash.leave(request, "info", i18n.said(sentence))
    raise web.HTTPSeeOther("/cart")


def _thread(order: Order, events: Sequence[Event]) -> list[Knot]:
    """What the order went through, and what is still to come."""
    reached: dict[str, Event] = {event.kind: event for event in events}
    ended = order.final and order.status is not State.DELIVERED
    way = [state for state in _WAY if state in reached] + [order.status] if ended else _WAY
    knots = []
    for state in way:
        event = reached.get(state)
        if state is order.status:
            place = "over" if ended else ("past" if order.final else "now")
        else:
            place = "past" if event is not None else "next"
        knots.append(Knot(state, place, event))
    return knots


def _back(request: web.Request) -> str:
    return str(request.rel_url).replace("/cancel", "", 1)
