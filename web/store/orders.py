"""A customer's orders, and the page of one order with its live status."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts, i18n, orders
from bookstore.catalogue import books as catalogue_books
from bookstore.database.engine import reading
from bookstore.database.pagination import Page
from bookstore.errors import IllegalTransition, RequestInProgress
from bookstore.i18n import _
from bookstore.orders import CUSTOMER_CANCELS, Event, Order, State
from web.api.carts import change_cart, limit_of
from web.api.idempotency import is_replay
from web.auth import order_access
from web.server.keys import ENGINE, USER
from web.server.request_context import now
from web.server.transactions import write
from web.store import flash, formatting, forms, guest_orders
from web.store.rendering import page

#: The states of an order that is neither rejected nor cancelled.
_HAPPY_PATH = (State.PLACED, State.CONFIRMED, State.PACKED, State.SHIPPED, State.DELIVERED)
#: The page explains the delay if an order is not processed after this time.
_SLOW = timedelta(seconds=30)
_LONGEST_REASON = 500


class Step(NamedTuple):
    """A step of an order.  `position` is `past`, `now`, `next`, or `over` where the order ended."""

    state: State
    position: str
    event: Event | None


async def show_all(request: web.Request) -> web.Response:
    """GET /orders: the user's orders; for guests those of the session."""
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
    """GET /orders/{number}: the order, updated live by `store.js`."""
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await _find(request, conn)
        events = await orders.events(conn, order.id)
        books = await catalogue_books.by_ids(conn, [line.book_id for line in order.items])
    return await page(
        request,
        "order.html",
        order=order,
        lines=[(line, books[line.book_id]) for line in order.items],
        steps=_steps(order, events),
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

    async def cancel_accessible(conn: AsyncConnection) -> Order:
        order = await _find(request, conn)
        actor = order_access.actor(request, order)
        return await orders.cancel(
            conn, order.number, actor=actor, by_staff=False, reason=reason, now=now()
        )

    try:
        order = await write(request, cancel_accessible)
    except IllegalTransition as error:
        text = _("This order can no longer be cancelled here. Its status: %s.")
        text %= formatting.status_name(error.current)
        address = str(request.rel_url).replace("/cancel", "", 1)
        raise await flash.redirect(request, address, "bad", text) from None
    raise web.HTTPSeeOther(guest_orders.address_of(request, order))


async def reorder(request: web.Request) -> web.Response:
    """POST /orders/{number}/reorder: add its available books to the cart, once per form."""
    key = forms.key_of(await forms.read(request))

    async def fill(conn: AsyncConnection, cart_id: int) -> None:
        order = await _find(request, conn)
        owner = order_access.idempotency_owner(request, cart_id)
        if await is_replay(request, conn, owner, {}, cart_id, key=key):
            text = _("These books were already added to your cart, so nothing was added again.")
            messages[:] = [text]
            return
        items = [(line.book_id, line.title, line.quantity) for line in order.items]
        messages[:] = await carts.add_again(
            conn, cart_id, items, limit=limit_of(request), now=now()
        )

    messages: list[str] = []
    try:
        await change_cart(request, fill)
    except RequestInProgress:
        text = _("Your books are being added to your cart. Please reload the page in a moment.")
        messages[:] = [text]
    for message in messages:
        await flash.add(request, "info", i18n.translated(message))
    raise web.HTTPSeeOther("/cart")


async def _find(request: web.Request, conn: AsyncConnection) -> Order:
    return await order_access.find_accessible(request, conn, request.query.get("access_token"))


def _steps(order: Order, events: Sequence[Event]) -> list[Step]:
    """The past, current and future states of the order.

    States that only a newer release knows are shown as unknown, before the current one.
    """
    reached: dict[str, Event] = {event.kind: event for event in events}
    ended = order.final and order.status is not State.DELIVERED
    if order.status in _HAPPY_PATH:
        index = _HAPPY_PATH.index(order.status)
        before, after = _HAPPY_PATH[:index], _HAPPY_PATH[index:]
    else:
        before = tuple(state for state in _HAPPY_PATH if state in reached)
        rest = () if ended else tuple(state for state in _HAPPY_PATH if state not in reached)
        after = (order.status, *rest)
    steps = []
    for state in (*before, *_unknown_states(order, events), *after):
        event = reached.get(state)
        if state == order.status:
            position = "over" if ended else ("past" if order.final else "now")
        else:
            position = "past" if event is not None else "next"
        steps.append(Step(state, position, event))
    return steps


def _unknown_states(order: Order, events: Sequence[Event]) -> Sequence[State]:
    """The states in the events that this release does not know; payments have other events."""
    states = [State.stored(event.kind) for event in events if not event.kind.startswith("payment-")]
    return [state for state in states if not state.is_known and state != order.status]
