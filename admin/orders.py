"""Orders: found, followed, packed and sent."""

from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import inputs, log
from admin.page import back_to, carry_out, page
from bookstore import orders, shopfront, trails
from bookstore.db import reading, retrying, transaction
from bookstore.errors import BookstoreError, Invalid
from bookstore.orders import MACHINE_MADE, NEXT, Payment, State
from web.keys import ENGINE
from web.requests import now
from web.sessions import me
from web.store import forms, notices

_Choice = TypeVar("_Choice", State, Payment)

PAGE = 25
#: Packing is the work that waits, so it comes first.
TABS = (
    (State.CONFIRMED, "To pack"),
    (State.PACKED, "To ship"),
    (State.PLACED, "Placed"),
    (State.SHIPPED, "Shipped"),
    (State.DELIVERED, "Delivered"),
    (State.REJECTED, "Rejected"),
    (State.CANCELLED, "Cancelled"),
)
LONGEST_TRACKING = 200
#: Steps that need no words for each order.
IN_BULK = {State.PACKED, State.SHIPPED}


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/orders: by state, by question, the newest first."""
    asked = request.query.get("status")
    status = State(asked) if asked in set(State) else None
    q = " ".join(request.query.get("q", "").split())[:200]
    cursor = request.query.get("cursor")
    async with reading(request.config_dict[ENGINE]) as conn:
        counts = await orders.count_by_state(conn)
        found = await orders.find(conn, status=status, q=q or None, cursor=cursor, limit=PAGE)
    return await page(
        request,
        "orders.html",
        back=request.path_qs,
        counts=counts,
        cursor=cursor,
        found=found,
        q=q,
        state=status,
        tabs=TABS,
    )


async def show(request: web.Request) -> web.Response:
    """GET /admin/orders/{number}: all that is known of one order."""
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await orders.get(conn, request.match_info["number"])
        trail = await trails.of_order(conn, order.id)
        books = await shopfront.by_ids(conn, [line.book_id for line in order.items])
    entries = log.entries(trail)
    wanted = request.query.get("show", "")
    kinds = [kind for kind in log.KINDS if any(entry.kind == kind for entry in entries)]
    return await page(
        request,
        "order.html",
        books=books,
        entries=[entry for entry in entries if wanted not in kinds or entry.kind == wanted],
        entry_count=len(entries),
        kinds=kinds,
        next_states=[
            state for state in State if state in NEXT.get(order.status, set()) - MACHINE_MADE
        ],
        next_payments=[payment for payment in Payment if payment in order.next_payments],
        order=order,
        trail=trail,
        wanted=wanted if wanted in kinds else "",
    )


async def move(request: web.Request) -> web.Response:
    """POST /admin/orders/{number}/transitions: packed, shipped, delivered or cancelled."""
    number, form = request.match_info["number"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        to = _one_of(State, form.get("to", ""))
        facts: dict[str, Any] = {}
        if to is State.CANCELLED:
            facts["reason"] = inputs.reason("reason", form.get("reason", ""))
        if to is State.SHIPPED:
            facts["tracking"] = _tracking(form.get("tracking", ""))
        await orders.transition(conn, number, to, actor=_actor(request), now=now(), **facts)
        return _SAID[to].format(number=number)

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/orders/{_in_path(number)}")


async def move_many(request: web.Request) -> web.Response:
    """POST /admin/orders: every ticked order takes the same step, or says why it does not."""
    form = await forms.read(request)
    sent = await request.post()
    numbers = [number for number in sent.getall("number", []) if isinstance(number, str)][:PAGE]
    done = 0
    for number in numbers:

        async def work(number: str = number) -> None:
            async with transaction(request.config_dict[ENGINE]) as conn:
                to = _one_of(State, form.get("to", ""))
                if to not in IN_BULK:
                    raise Invalid("to", "Orders take this step one by one.")
                await orders.transition(conn, number, to, actor=_actor(request), now=now())

        try:
            await retrying(work)
        except BookstoreError as error:
            await notices.leave(request, "bad", f"{number}: {error}")
        else:
            done += 1
    if done:
        word = "order is" if done == 1 else "orders are"
        await notices.leave(request, "ok", f"{done} {word} {form['to']} now.")
    elif not numbers:
        await notices.leave(request, "warn", "Nothing was ticked. Tick the orders first.")
    raise web.HTTPSeeOther(back_to(form.get("back"), "/admin/orders"))


async def change_payment(request: web.Request) -> web.Response:
    """POST /admin/orders/{number}/payment: what happened to the money."""
    number, form = request.match_info["number"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        to = _one_of(Payment, form.get("to", ""))
        await orders.change_payment(conn, number, to, actor=_actor(request), now=now())
        return f"The payment of order {number} is now: {to.replace('_', ' ')}."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/orders/{_in_path(number)}")


_SAID = {
    State.PACKED: "Order {number} is packed. Next it is shipped.",
    State.SHIPPED: "Order {number} is on its way, and a letter says so.",
    State.DELIVERED: "Order {number} has arrived.",
    State.CANCELLED: "Order {number} is cancelled; its books are back on the shelf.",
}


def _one_of(kind: type[_Choice], value: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        raise Invalid("to", "There is no such state.") from None


def _tracking(text: str) -> str | None:
    line = " ".join(text.split())
    if len(line) > LONGEST_TRACKING:
        raise Invalid("tracking", f"A tracking number has at most {LONGEST_TRACKING} characters.")
    return line or None


def _actor(request: web.Request) -> str:
    return f"staff:{me(request).id}"


def _in_path(number: str) -> str:
    return quote(number, safe="")
