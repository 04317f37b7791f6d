"""The page of one order: timeline, next state, payment and notes of staff."""

from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import form_values, order_timeline
from admin.access import made_by
from admin.rendering import NO_ERROR, FormError, page, run_form
from bookstore import orders
from bookstore.backoffice import orders as backoffice_orders
from bookstore.catalogue import books as catalogue_books
from bookstore.database.engine import reading
from bookstore.errors import Invalid
from bookstore.orders import MACHINE_MADE, NEXT, State, timeline
from bookstore.payments import PROVIDERS, Payment
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import forms

_Choice = TypeVar("_Choice", State, Payment)

#: The fields of the page that keep their text if their form fails.
_CANCELLING, _REMARK, _TRACKING, _NOTE = "reason", "remark", "tracking", "note"
_PAYMENT = "to"
_FORM_FIELDS = {
    str(State.CANCELLED): _CANCELLING,
    str(State.PACKED): _REMARK,
    str(State.DELIVERED): _REMARK,
    str(State.SHIPPED): _TRACKING,
}


async def show(request: web.Request, form_error: FormError = NO_ERROR) -> web.Response:
    """GET /admin/orders/{number}: the order and its timeline."""
    return await show_one(request, request.match_info["number"], form_error)


async def show_one(
    request: web.Request, number: str, form_error: FormError = NO_ERROR
) -> web.Response:
    """The page of an order; `form_error` is the error of a form on it."""
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await orders.get(conn, number)
        found = await timeline.of_order(conn, order.id)
        books = await catalogue_books.by_ids(conn, [line.book_id for line in order.items])
    next_states = [
        state for state in State if state in NEXT.get(order.status, set()) - MACHINE_MADE
    ]
    next_payments = [payment for payment in Payment if payment in order.next_payments]
    fields = {_NOTE, *(_FORM_FIELDS[state] for state in next_states)}
    fields |= {_PAYMENT} if next_payments else set()
    fields |= {discard_field(task.id) for task in found.tasks if task.dead_at}
    entries = order_timeline.entries(found)
    shown = request.query.get("show", "")
    kinds = [kind for kind in order_timeline.KINDS if any(entry.kind == kind for entry in entries)]
    return await page(
        request,
        "order.html",
        books=books,
        entries=[entry for entry in entries if shown not in kinds or entry.kind == shown],
        entry_count=len(entries),
        kinds=kinds,
        next_states=next_states,
        next_payments=next_payments,
        note_length=backoffice_orders.NOTE_LENGTH,
        order=order,
        form_error=form_error.for_fields(fields),
        provider=PROVIDERS.get(order.payment_provider),
        shown_kind=shown if shown in kinds else "",
        timeline=found,
    )


async def move(request: web.Request) -> web.Response:
    """POST /admin/orders/{number}/transitions: packed, shipped, delivered or cancelled.

    No state leads to itself, so a step that another member of staff made first is not repeated.
    """
    number, form = request.match_info["number"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        to = _parse(State, form.get("to", ""))
        facts: dict[str, Any] = {}
        if to is State.CANCELLED:
            facts["reason"] = form_values.parse_reason("reason", form.get("reason", ""))
        elif "reason" in form:
            facts["reason"] = form_values.parse_reason("reason", form["reason"])
        if to is State.SHIPPED:
            facts["tracking"] = form_values.parse_tracking("tracking", form.get("tracking", ""))
        await orders.move(conn, number, to, actor=_actor(request), now=now(), **facts)
        return _MESSAGES[to].format(number=number)

    if error := await run_form(request, work):
        field = _FORM_FIELDS.get(form.get("to", ""), "")
        text = form.get("tracking" if field == _TRACKING else "reason", "")
        return await show(request, FormError.from_error(error, field, {field: text}))
    raise web.HTTPSeeOther(f"/admin/orders/{_quoted(number)}")


async def change_payment(request: web.Request) -> web.Response:
    """POST /admin/orders/{number}/payment: a new payment status."""
    number, form = request.match_info["number"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        to = _parse(Payment, form.get("to", ""))
        await orders.change_payment(conn, number, to, actor=_actor(request), now=now())
        return f"Payment of order {number} recorded: {to.replace('_', ' ')}."

    if error := await run_form(request, work):
        return await show(
            request, FormError.from_error(error, _PAYMENT, {_PAYMENT: form.get("to", "")})
        )
    raise web.HTTPSeeOther(f"/admin/orders/{_quoted(number)}")


async def add_note(request: web.Request) -> web.Response:
    """POST /admin/orders/{number}/notes: a note for staff."""
    number, form = request.match_info["number"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        await backoffice_orders.add_note(conn, number, form.get("body", ""), **made_by(request))
        return "Note saved. Customers cannot see it."

    if error := await run_form(request, work):
        return await show(
            request, FormError.from_error(error, _NOTE, {_NOTE: form.get("body", "")})
        )
    raise web.HTTPSeeOther(f"/admin/orders/{_quoted(number)}")


def discard_field(task_id: int) -> str:
    """The field for the reason why a task is discarded."""
    return f"reason-{task_id}"


_MESSAGES = {
    State.PACKED: "Order {number} is packed and ready to ship.",
    State.SHIPPED: "Order {number} is shipped. The customer receives an e-mail.",
    State.DELIVERED: "Order {number} is delivered.",
    State.CANCELLED: "Order {number} is cancelled. Its items are back in stock.",
}


def _parse(kind: type[_Choice], value: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        raise Invalid("to", "This status does not exist.") from None


def _actor(request: web.Request) -> str:
    return f"staff:{current_user(request).id}"


def _quoted(number: str) -> str:
    return quote(number, safe="")
