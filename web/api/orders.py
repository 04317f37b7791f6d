"""Orders: placing them, and following what becomes of them."""

import re
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts, idempotency, orders
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.failpoints import failpoint
from bookstore.errors import (
    BookWithdrawn,
    CartEmpty,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    IllegalTransition,
    Invalid,
    NotDelivered,
    NotFound,
    NotSignedIn,
    PriceChanged,
    RequestInProgress,
)
from bookstore.orders import CheckoutRequest, Order
from bookstore.users import accounts, addresses
from bookstore.users.permissions import Permission
from web.api.carts import CartOut, changed
from web.api.idempotency import REPLAYED, done_before, key_of
from web.api.operations import (
    IDEMPOTENCY_KEY,
    KEY_PATTERN,
    Fields,
    Header,
    answer,
    operation,
    page_answer,
)
from web.api.order_schemas import (
    CancellationIn,
    EventOut,
    EventsOut,
    OrderIn,
    OrderOut,
    OrderPage,
    OrderQuery,
    PlacedOrderOut,
    TokenQuery,
)
from web.auth import guest_cart as visitors
from web.auth import order_access
from web.auth.sessions import me
from web.live import sse
from web.live.order_streams import HUB
from web.server import languages
from web.server.keys import CHECKOUTS, ENGINE, REQUEST_ID, USER, WAITED_S
from web.server.request_context import now

TAGS = ["orders"]


@operation(
    body=OrderIn,
    headers={
        IDEMPOTENCY_KEY: Header(
            "1 to 255 characters, new for each order.",
            required=True,
            longest=255,
            pattern=KEY_PATTERN,
        )
    },
    returns=(202, PlacedOrderOut),
    tags=TAGS,
    refusals=[
        Invalid,
        NotFound,
        IdempotencyKeyRequired,
        IdempotencyKeyReused,
        RequestInProgress,
        CartEmpty,
        PriceChanged,
        NotDelivered,
        BookWithdrawn,
    ],
)
async def place_order(request: web.Request, body: Fields) -> web.Response:
    """Order what is in the cart.

    The parcel goes to `shipping_address`, or to the address of one's address book that
    `address_id` names.  The order is accepted at once and worked on afterwards: follow it by
    its events.  A repeat with the same key and body is answered like the first, with
    `Idempotent-Replayed: true`.  Guests get an `access_token`, which opens the order for
    whoever has it.  The letters are in the language that `Accept-Language` asks for, if the
    store speaks it; else in that of the account.
    """
    wish = await _wish(request, body)
    placed = await request.config_dict[CHECKOUTS].place(wish, waited_s=request[WAITED_S])
    order = placed.order
    content: dict[str, Any] = {name: getattr(order, name) for name in Order.__slots__}
    if order.user_id is None:
        content["access_token"] = order_access.token_of(request, order)
    headers = {"Location": f"/api/v1/orders/{order.number}"}
    if placed.replayed:
        headers.update(REPLAYED)
    accepted = answer(PlacedOrderOut, content, status=202, headers=headers)
    failpoint("W6")
    return accepted


@operation(query=OrderQuery, returns=(200, OrderPage), tags=TAGS, refusals=[Invalid])
async def list_orders(request: web.Request, query: Fields) -> web.Response:
    """Show the caller's own orders, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await orders.of_user(conn, me(request).id, **query)
    return page_answer(OrderPage, request, page)


@operation(query=TokenQuery, returns=(200, OrderOut), tags=TAGS, refusals=[NotSignedIn])
async def show_order(request: web.Request, query: Fields) -> web.Response:
    """Show an order: one's own, or with a guest's token."""
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await order_access.opened(request, conn, query["access_token"])
    return answer(OrderOut, order, etag=str(order.last_seq))


@operation(
    body=CancellationIn,
    query=TokenQuery,
    returns=(200, OrderOut),
    tags=TAGS,
    refusals=[IllegalTransition, NotSignedIn],
)
async def cancel_order(request: web.Request, body: Fields, query: Fields) -> web.Response:
    """Cancel an order.  Once it is packed, only staff can."""
    by_staff = order_access.may(request, Permission.CHANGE_ORDERS)

    async def work() -> Order:
        async with transaction(request.config_dict[ENGINE]) as conn:
            order = await order_access.opened(request, conn, query["access_token"])
            order = await orders.cancel(
                conn,
                order.number,
                actor=order_access.actor(request, order),
                by_staff=by_staff,
                reason=body.get("reason"),
                now=now(),
            )
            failpoint("C3")
        failpoint("C4")
        return order

    return answer(OrderOut, await retry_transaction(work))


@operation(query=TokenQuery, returns=(200, CartOut), tags=TAGS, refusals=[NotSignedIn], once=True)
async def reorder(request: web.Request, query: Fields) -> web.Response:
    """Put the books of an order into the cart again, those that can be had."""
    headers: dict[str, str] = {}
    key = key_of(request)

    async def change(conn: AsyncConnection, cart_id: int) -> None:
        headers.clear()  # Those of an attempt that was rolled back.
        order = await order_access.opened(request, conn, query["access_token"])
        if await done_before(request, conn, order_access.key_owner(request, cart_id), key, cart_id):
            headers.update(REPLAYED)
            return
        wanted = [(line.book_id, line.title, line.quantity) for line in order.items]
        await carts.add_again(conn, cart_id, wanted, now=now())

    cart = await changed(request, change)
    return answer(CartOut, cart, headers=headers)


@operation(query=TokenQuery, returns=(200, EventsOut), tags=TAGS, refusals=[NotSignedIn])
async def list_order_events(request: web.Request, query: Fields) -> web.Response:
    """Show what has happened to an order, the oldest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await order_access.opened(request, conn, query["access_token"])
        found = await orders.events(conn, order.id)
    return answer(EventsOut, {"items": found})


@operation(
    query=TokenQuery,
    headers={"Last-Event-ID": Header("The `id` of the last event that was seen.")},
    returns=(200, None),
    content_type="text/event-stream",
    tags=TAGS,
    refusals=[NotSignedIn],
)
async def stream_order(request: web.Request, query: Fields) -> web.StreamResponse:
    """Follow an order live, as server-sent events.

    Each has the event's number as `id`, the name `status` and the event as JSON in `data`.
    The stream ends when nothing more can happen to the order.
    """
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await order_access.opened(request, conn, query["access_token"])
    seen = request.headers.get("Last-Event-ID", "")
    after = int(seen) if re.fullmatch(r"[0-9]{1,9}", seen) else 0
    if order.final and after >= order.last_seq:
        return web.Response(status=204)  # Which tells browsers not to come again.
    with request.config_dict[HUB].follow(order.id, after, EventOut().dumps) as follower:
        return await sse.stream(request, follower)


async def _wish(request: web.Request, body: Fields) -> CheckoutRequest:
    key = key_of(request)
    if key is None:
        raise IdempotencyKeyRequired
    user = request[USER]
    if user is None and "email" not in body:
        raise Invalid("email", "A guest has to say where the confirmation goes.")
    email = accounts.normal_email(body["email"]) if "email" in body else me(request).email
    address = _typed_address(body) or await _known_address(request, body["address_id"])
    cart_id = await visitors.known(request)
    if cart_id is None:
        raise CartEmpty
    return CheckoutRequest(
        key=idempotency.Key(order_access.key_owner(request, cart_id), key),
        request_hash=idempotency.hash_of(body),
        cart_id=cart_id,
        user_id=None if user is None else user.id,
        email=email,
        shipping_address=address,
        note=body.get("note"),
        language=languages.of_letters(request),
        expected_total_cents=body.get("expected_total_cents"),
        request_id=request[REQUEST_ID],
    )


def _typed_address(body: Fields) -> dict[str, Any] | None:
    """The address in the request; None when it names one of the address book."""
    typed = body.get("shipping_address")
    if (typed is None) is ("address_id" not in body):
        raise Invalid("shipping_address", "Send either an address or the id of one.")
    return None if typed is None else addresses.checked(typed, within="shipping_address")


async def _known_address(request: web.Request, address_id: int) -> dict[str, Any]:
    user = request[USER]
    if user is None:  # A guest has no address book.
        raise NotFound("This address")
    async with reading(request.config_dict[ENGINE]) as conn:
        return (await addresses.get(conn, user.id, address_id)).for_parcel()
