"""Placing, showing, cancelling and tracking orders."""

import re
from typing import Any

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import carts, errors, idempotency, orders
from bookstore.database.engine import retry_transaction, transaction
from bookstore.database.failpoints import failpoint
from bookstore.database.pagination import Page
from bookstore.errors import Invalid, NotFound, NotSignedIn
from bookstore.orders import CheckoutRequest, Order
from bookstore.users import accounts, addresses
from bookstore.users.permissions import Permission
from web.api import order_schemas
from web.api.carts import CartOut, change_cart, limit_of
from web.api.idempotency import REPLAYED, is_replay, key_of
from web.api.operations import (
    IDEMPOTENCY_ERRORS,
    IDEMPOTENCY_KEY,
    KEY_SCHEMA,
    Answer,
    Fields,
    Header,
    operation,
)
from web.api.order_schemas import GuestTokenQuery, OrderEventOut, OrderEventsOut, OrderOut
from web.auth import guest_cart, order_access
from web.auth.login_throttle import limit_guest_orders, uncount_guest_order
from web.auth.sessions import current_user
from web.live import sse
from web.live.order_streams import HUB
from web.server import languages
from web.server.errors import TooManyAttempts
from web.server.keys import CHECKOUTS, ENGINE, REQUEST_ID, SESSION_WAIT_S, USER
from web.server.request_context import now
from web.server.transactions import read


@operation(
    body=order_schemas.OrderIn,
    headers={
        IDEMPOTENCY_KEY: Header(
            "1 to 255 characters, unique for each order.", required=True, schema=KEY_SCHEMA
        )
    },
    returns=(202, order_schemas.PlacedOrderOut),
    refusals=[
        Invalid,
        NotFound,
        *IDEMPOTENCY_ERRORS,
        errors.CartEmpty,
        errors.PriceChanged,
        errors.NotDelivered,
        errors.BookWithdrawn,
        errors.NotYetOnSale,
        errors.TooManyCopies,
        TooManyAttempts,
    ],
)
async def place_order(request: web.Request, body: Fields) -> Answer:
    """Place an order for the items in the cart.

    The order is shipped to `shipping_address`, or to the address in the caller's address book with
    the id `address_id`.  The response is sent before the order is processed: track the order by
    its events.  A repeat with the same key and body gets the same response with
    `Idempotent-Replayed: true`.  Guests get an `access_token`: anyone who has it can access the
    order.  E-mails about the order are in the language of `Accept-Language` if the store supports
    it, otherwise in the language of the account.
    """
    checkout_request = await _checkout_request(request, body)
    async with limit_guest_orders(request, checkout_request.email):
        placed = await request.config_dict[CHECKOUTS].place(
            checkout_request, waited_s=request[SESSION_WAIT_S]
        )
    if placed.replayed:
        await uncount_guest_order(request, checkout_request.email)
    order = placed.order
    content = {name: getattr(order, name) for name in (*Order.__slots__, "readable_address")}
    if order.user_id is None:
        content["access_token"] = order_access.access_token(request, order)
    headers = {"Location": f"/api/v1/orders/{order.number}"}
    if placed.replayed:
        headers.update(REPLAYED)
    failpoint("W6")
    return Answer(content, headers)


@operation(query=order_schemas.OrderQuery, returns=(200, order_schemas.OrderPage))
async def list_orders(request: web.Request, query: Fields) -> Page[Order]:
    """List the caller's orders, the newest first."""
    return await read(request, orders.of_user, current_user(request).id, **query)


@operation(query=GuestTokenQuery, returns=(200, OrderOut), refusals=[NotSignedIn])
async def show_order(request: web.Request, query: Fields) -> Answer:
    """Show an order of the caller, or with `access_token` an order of a guest."""
    order = await read(request, _find_accessible, request, query)
    return Answer(order, etag=str(order.last_seq))


@operation(
    body=order_schemas.CancellationIn,
    query=GuestTokenQuery,
    returns=(200, OrderOut),
    refusals=[errors.IllegalTransition, NotSignedIn],
    idempotent=True,
)
async def cancel_order(request: web.Request, body: Fields, query: Fields) -> Answer:
    """Cancel an order.

    After the order is packed, only staff can cancel it.
    """
    by_staff = order_access.has_permission(request, Permission.CHANGE_ORDERS)

    async def work() -> Answer:
        async with transaction(request.config_dict[ENGINE]) as conn:
            order = await _find_accessible(conn, request, query)
            if await is_replay(request, conn, f"order:{order.id}", body, order.id):
                return Answer(order, REPLAYED)
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
        return Answer(order)

    return await retry_transaction(work)


@operation(query=GuestTokenQuery, returns=(200, CartOut), refusals=[NotSignedIn], idempotent=True)
async def reorder(request: web.Request, query: Fields) -> Answer:
    """Add the available books of an order to the cart again."""
    headers: dict[str, str] = {}

    async def change(conn: AsyncConnection, cart_id: int) -> None:
        headers.clear()  # Remove the headers of an attempt that was rolled back.
        order = await _find_accessible(conn, request, query)
        owner = order_access.idempotency_owner(request, cart_id)
        if await is_replay(request, conn, owner, {}, cart_id):
            headers.update(REPLAYED)
            return
        items = [(line.book_id, line.title, line.quantity) for line in order.items]
        await carts.add_again(conn, cart_id, items, limit=limit_of(request), now=now())

    return Answer(await change_cart(request, change), headers)


@operation(query=GuestTokenQuery, returns=(200, OrderEventsOut), refusals=[NotSignedIn])
async def list_order_events(request: web.Request, query: Fields) -> Fields:
    """List the events of an order, the oldest first."""

    async def find(conn: AsyncConnection) -> Fields:
        order = await _find_accessible(conn, request, query)
        return {"items": await orders.events(conn, order.id)}

    return await read(request, find)


@operation(
    query=GuestTokenQuery,
    headers={"Last-Event-ID": "The `id` of the last event that the client received."},
    returns=(200, None),
    content_type="text/event-stream",
    refusals=[NotSignedIn],
)
async def stream_order(request: web.Request, query: Fields) -> web.StreamResponse:
    """Stream the events of an order as server-sent events.

    Each server-sent event has the name `status`, the `id` of the order event as its `id`, and the
    order event as JSON in `data`.  The stream ends when the order reaches a final status.
    """
    order = await read(request, _find_accessible, request, query)
    last_event_id = request.headers.get("Last-Event-ID", "")
    after = int(last_event_id) if re.fullmatch(r"[0-9]{1,9}", last_event_id) else 0
    if order.final and after >= order.last_seq:
        return web.Response(status=204)  # Status 204 stops a browser from reconnecting.
    with request.config_dict[HUB].follow(order.id, after, OrderEventOut().dumps) as follower:
        return await sse.stream(request, follower)


async def _checkout_request(request: web.Request, body: Fields) -> CheckoutRequest:
    key = key_of(request)
    if key is None:
        raise errors.IdempotencyKeyRequired
    user = request[USER]
    if user is None and "email" not in body:
        raise Invalid("email", "An e-mail address for the order confirmation is required.")
    email = accounts.normal_email(body["email"]) if "email" in body else current_user(request).email
    address = _sent_address(body) or await _saved_address(request, body["address_id"])
    cart_id = await guest_cart.find_without_connection(request)
    if cart_id is None:
        raise errors.CartEmpty
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
    return (await read(request, addresses.get, user.id, address_id)).as_shipping_address()


async def _find_accessible(conn: AsyncConnection, request: web.Request, query: Fields) -> Order:
    return await order_access.find_accessible(request, conn, query["access_token"])
