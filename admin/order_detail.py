"""One order: followed, moved on, paid, written about."""

from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import form_values, order_timeline
from admin.rendering import NO_REFUSAL, Refusal, attempt, page
from bookstore import orders
from bookstore.backoffice import orders as desk
from bookstore.database.engine import reading
from bookstore.errors import Invalid
from bookstore.orders import MACHINE_MADE, NEXT, State, bestsellers, timeline
from bookstore.payments import Payment
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import forms

_Choice = TypeVar("_Choice", State, Payment)

LONGEST_TRACKING = 200
#: The fields of the page whose text is kept when it is refused.
_CANCELLING, _REMARK, _TRACKING, _NOTE = "reason", "remark", "tracking", "note"
_PAYMENT = "to"
_PLACES = {
    str(State.CANCELLED): _CANCELLING,
    str(State.PACKED): _REMARK,
    str(State.DELIVERED): _REMARK,
    str(State.SHIPPED): _TRACKING,
}


async def show(request: web.Request, refusal: Refusal = NO_REFUSAL) -> web.Response:
    """GET /admin/orders/{number}: all that is known of one order."""
    return await show_one(request, request.match_info["number"], refusal)


async def show_one(
    request: web.Request, number: str, refusal: Refusal = NO_REFUSAL
) -> web.Response:
    """The page of an order, also after a form on it was refused."""
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await orders.get(conn, number)
        trail = await timeline.of_order(conn, order.id)
        books = await bestsellers.by_ids(conn, [line.book_id for line in order.items])
    next_states = [
        state for state in State if state in NEXT.get(order.status, set()) - MACHINE_MADE
    ]
    next_payments = [payment for payment in Payment if payment in order.next_payments]
    places = {_NOTE, *(_PLACES[state] for state in next_states)}
    places |= {_PAYMENT} if next_payments else set()
    places |= {discarding(task.id) for task in trail.tasks if task.dead_at}
    entries = order_timeline.entries(trail)
    wanted = request.query.get("show", "")
    kinds = [kind for kind in order_timeline.KINDS if any(entry.kind == kind for entry in entries)]
    return await page(
        request,
        "order.html",
        books=books,
        entries=[entry for entry in entries if wanted not in kinds or entry.kind == wanted],
        entry_count=len(entries),
        kinds=kinds,
        next_states=next_states,
        next_payments=next_payments,
        note_length=desk.NOTE_LENGTH,
        order=order,
        refusal=refusal.among(places),
        trail=trail,
        wanted=wanted if wanted in kinds else "",
    )


async def move(request: web.Request) -> web.Response:
    """POST /admin/orders/{number}/transitions: packed, shipped, delivered or cancelled.

    No state leads to itself, so what somebody else did meanwhile is not done again.
    """
    number, form = request.match_info["number"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        to = _one_of(State, form.get("to", ""))
        facts: dict[str, Any] = {}
        if to is State.CANCELLED:
            facts["reason"] = form_values.reason("reason", form.get("reason", ""))
        elif "reason" in form:
            facts["reason"] = form_values.reason("reason", form["reason"])
        if to is State.SHIPPED:
            facts["tracking"] = _tracking(form.get("tracking", ""))
        await orders.move(conn, number, to, actor=_actor(request), now=now(), **facts)
        return _SAID[to].format(number=number)

    if error := await attempt(request, work):
        place = _PLACES.get(form.get("to", ""), "")
        typed = form.get("tracking" if place == _TRACKING else "reason", "")
        return await show(request, Refusal.of(error, place, {place: typed}))
    raise web.HTTPSeeOther(f"/admin/orders/{_in_path(number)}")


async def change_payment(request: web.Request) -> web.Response:
    """POST /admin/orders/{number}/payment: what happened to the money."""
    number, form = request.match_info["number"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        to = _one_of(Payment, form.get("to", ""))
        await orders.change_payment(conn, number, to, actor=_actor(request), now=now())
        return f"The payment of order {number} is now: {to.replace('_', ' ')}."

    if error := await attempt(request, work):
        return await show(request, Refusal.of(error, _PAYMENT, {_PAYMENT: form.get("to", "")}))
    raise web.HTTPSeeOther(f"/admin/orders/{_in_path(number)}")


async def add_note(request: web.Request) -> web.Response:
    """POST /admin/orders/{number}/notes: something for other staff to know."""
    number, form = request.match_info["number"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        await desk.add_note(conn, number, form.get("body", ""), user_id=me(request).id, now=now())
        return "The note is kept. Customers never see it."

    if error := await attempt(request, work):
        return await show(request, Refusal.of(error, _NOTE, {_NOTE: form.get("body", "")}))
    raise web.HTTPSeeOther(f"/admin/orders/{_in_path(number)}")


def discarding(task_id: int) -> str:
    """The place of the field that asks why a task is discarded."""
    return f"reason-{task_id}"


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
