"""Placing, showing, cancelling and tracking orders."""

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
from web.api.carts import CartOut, change_cart
from web.api.idempotency import REPLAYED, is_replay, key_of
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
    GuestTokenQuery,
    OrderEventOut,
    OrderEventsOut,
    OrderIn,
    OrderOut,
    OrderPage,
    OrderQuery,
    PlacedOrderOut,
)
from web.auth import guest_cart, order_access
from web.auth.sessions import current_user
from web.live import sse
from web.live.order_streams import HUB
from web.server import languages
from web.server.keys import CHECKOUTS, ENGINE, REQUEST_ID, SESSION_WAIT_S, USER
from web.server.request_context import now

TAGS = ["orders"]


@operation(
    body=OrderIn,
    headers={
        IDEMPOTENCY_KEY: Header(
            "1 to 255 characters, unique for each order.",
            required=True,
            max_length=255,
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
    """Place an order for the items in the cart.

    The order is shipped to `shipping_address`, or to the address in the caller's address book with
    the id `address_id`.  The response is sent before the order is processed: track the order by
    its events.  A repeat with the same key and body gets the same response with
    `Idempotent-Replayed: true`.  Guests get an `access_token`: anyone who has it can access the
    order.  E-mails about the order are in the language of `Accept-Language` if the store supports
    it, otherwise in the language of the account.
    """
    checkout_request = await _checkout_request(request, body)
    placed = await request.config_dict[CHECKOUTS].place(
        checkout_request, waited_s=request[SESSION_WAIT_S]
    )
    order = placed.order
    content: dict[str, Any] = {name: getattr(order, name) for name in Order.__slots__}
    if order.user_id is None:
        content["access_token"] = order_access.access_token(request, order)
    headers = {"Location": f"/api/v1/orders/{order.number}"}
    if placed.replayed:
        headers.update(REPLAYED)
    accepted = answer(PlacedOrderOut, content, status=202, headers=headers)
    failpoint("W6")
    return accepted


@operation(query=OrderQuery, returns=(200, OrderPage), tags=TAGS, refusals=[Invalid])
async def list_orders(request: web.Request, query: Fields) -> web.Response:
    """List the caller's orders, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await orders.of_user(conn, current_user(request).id, **query)
    return page_answer(OrderPage, request, page)


@operation(query=GuestTokenQuery, returns=(200, OrderOut), tags=TAGS, refusals=[NotSignedIn])
async def show_order(request: web.Request, query: Fields) -> web.Response:
    """Show an order of the caller, or with `access_token` an order of a guest."""
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await order_access.find_accessible(request, conn, query["access_token"])
    return answer(OrderOut, order, etag=str(order.last_seq))


@operation(
    body=CancellationIn,
    query=GuestTokenQuery,
    returns=(200, OrderOut),
    tags=TAGS,
    refusals=[IllegalTransition, NotSignedIn],
)
async def cancel_order(request: web.Request, body: Fields, query: Fields) -> web.Response:
    """Cancel an order.

    After the order is packed, only staff can cancel it.
    """
    by_staff = order_access.has_permission(request, Permission.CHANGE_ORDERS)

    async def work() -> Order:
        async with transaction(request.config_dict[ENGINE]) as conn:
            order = await order_access.find_accessible(request, conn, query["access_token"])
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


@operation(
    query=GuestTokenQuery,
    returns=(200, CartOut),
    tags=TAGS,
    refusals=[NotSignedIn],
    idempotent=True,
)
async def reorder(request: web.Request, query: Fields) -> web.Response:
    """Add the available books of an order to the cart again."""
    headers: dict[str, str] = {}
    key = key_of(request)

    async def change(conn: AsyncConnection, cart_id: int) -> None:
        headers.clear()  # Remove the headers of an attempt that was rolled back.
        order = await order_access.find_accessible(request, conn, query["access_token"])
        if await is_replay(
            request, conn, order_access.idempotency_owner(request, cart_id), key, cart_id
        ):
            headers.update(REPLAYED)
            return
        items = [(line.book_id, line.title, line.quantity) for line in order.items]
        await carts.add_again(conn, cart_id, items, now=now())

    cart = await change_cart(request, change)
    return answer(CartOut, cart, headers=headers)


@operation(query=GuestTokenQuery, returns=(200, OrderEventsOut), tags=TAGS, refusals=[NotSignedIn])
async def list_order_events(request: web.Request, query: Fields) -> web.Response:
    """List the events of an order, the oldest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await order_access.find_accessible(request, conn, query["access_token"])
        found = await orders.events(conn, order.id)
    return answer(OrderEventsOut, {"items": found})


@operation(
    query=GuestTokenQuery,
    headers={"Last-Event-ID": Header("The `id` of the last event that the client received.")},
    returns=(200, None),
    content_type="text/event-stream",
    tags=TAGS,
    refusals=[NotSignedIn],
)
async def stream_order(request: web.Request, query: Fields) -> web.StreamResponse:
    """Stream the events of an order as server-sent events.

    Each server-sent event has the name `status`, the `id` of the order event as its `id`, and the
    order event as JSON in `data`.  The stream ends when the order reaches a final status.
    """
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await order_access.find_accessible(request, conn, query["access_token"])
    last_event_id = request.headers.get("Last-Event-ID", "")
    after = int(last_event_id) if re.fullmatch(r"[0-9]{1,9}", last_event_id) else 0
    if order.final and after >= order.last_seq:
        return web.Response(status=204)  # Status 204 stops a browser from reconnecting.
    with request.config_dict[HUB].follow(order.id, after, OrderEventOut().dumps) as follower:
        return await sse.stream(request, follower)


async def _checkout_request(request: web.Request, body: Fields) -> CheckoutRequest:
    key = key_of(request)
    if key is None:
        raise IdempotencyKeyRequired
    user = request[USER]
    if user is None and "email" not in body:
        raise Invalid("email", "An e-mail address for the order confirmation is required.")
    email = accounts.normal_email(body["email"]) if "email" in body else current_user(request).email
    address = _sent_address(body) or await _saved_address(request, body["address_id"])
    cart_id = await guest_cart.find_without_connection(request)
    if cart_id is None:
        raise CartEmpty
    return CheckoutRequest(
        key=idempotency.Key(order_access.idempotency_owner(request, cart_id), key),
        request_hash=idempotency.hash_request(body),
        cart_id=cart_id,
        user_id=None if user is None else user.id,
        email=email,
        shipping_address=address,
        note=body.get("note"),
        language=languages.email_language(request),
        expected_total_cents=body.get("expected_total_cents"),
        request_id=request[REQUEST_ID],
    )


def _sent_address(body: Fields) -> dict[str, Any] | None:
    """The address in the request; None if the request contains the id of a saved address."""
    address = body.get("shipping_address")
    if (address is None) is ("address_id" not in body):
        raise Invalid("shipping_address", "Send either shipping_address or address_id.")
    return None if address is None else addresses.validated(address, within="shipping_address")


async def _saved_address(request: web.Request, address_id: int) -> dict[str, Any]:
    user = request[USER]
    if user is None:  # A guest has no address book.
        raise NotFound("This address")
    async with reading(request.config_dict[ENGINE]) as conn:
        return (await addresses.get(conn, user.id, address_id)).as_shipping_address()
