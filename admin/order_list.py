"""The list of orders; several orders can take the same step at once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import bulk_preview
from admin.access import made_by
from admin.form_values import MAX_TRACKING_LENGTH, parse_tracking
from admin.list_state import Filter, ListState, end_of_day, labels, row_id, start_of_day
from admin.lists import AdminList, View
from admin.rendering import NO_ERROR, FormError, back_to, page, part
from bookstore import i18n, orders
from bookstore.backoffice import bulk_changes
from bookstore.backoffice import orders as backoffice_orders
from bookstore.backoffice.orders import OrderQuery
from bookstore.catalogue import books as catalogue_books
from bookstore.database.engine import reading
from bookstore.errors import BookstoreError, Invalid, NotFound
from bookstore.orders import MoveResult, State
from bookstore.payments import Payment
from bookstore.users.permissions import Permission
from web.server.keys import ENGINE, SETTINGS
from web.server.transactions import write
from web.store import flash, forms

UNPAID = "unpaid"
#: Packing is the most frequent work, so its tab is the first.
TABS = {
    str(State.CONFIRMED): "To pack",
    str(State.PACKED): "To ship",
    UNPAID: "Unpaid",
    str(State.PLACED): "Placed",
    str(State.SHIPPED): "Shipped",
    str(State.DELIVERED): "Delivered",
    str(State.REJECTED): "Rejected",
    str(State.CANCELLED): "Cancelled",
    "": "All",
}
#: The next step of the orders of a tab.
STEPS = {str(State.CONFIRMED): State.PACKED, str(State.PACKED): State.SHIPPED}
#: As many rows as the longest page has.
MAX_SELECTED = 100
#: More errors than these are only counted.
_SHOWN_ERRORS = 5


def _query(state: ListState, _subject: None) -> OrderQuery:
    if state.tab == UNPAID:
        return state.query(OrderQuery, status=None, unpaid=True)
    return state.query(OrderQuery)


async def _details(view: View) -> dict[str, Any]:
    states = await orders.count_by_state(view.conn)
    order_ids = [order.id for order in view.found.items]
    return {
        "counts": {
            **states,
            UNPAID: await backoffice_orders.count_unpaid(view.conn),
            "": sum(states.values()),
        },
        "step": STEPS.get(view.state.tab),
        "with_notes": await backoffice_orders.with_notes(view.conn, order_ids),
    }


LIST = AdminList(
    rows=backoffice_orders.ORDERS,
    path="/orders",
    template="orders.html",
    permission=Permission.SEE_ORDERS,
    filters=(
        Filter("status", "State", TABS, parse=State, tab=True),
        Filter("q", "Search"),
        Filter("payment", "Payment", labels(Payment), parse=Payment),
        Filter("since", "Placed from", parse=start_of_day),
        Filter("until", "to", parse=end_of_day),
        Filter("notes", "Notes", {"yes": "With a staff note"}, field="noted", parse=bool),
        Filter("user", "User", field="user_id", parse=row_id),
    ),
    # Orders to pack and to ship are processed oldest first.
    tab_sorts=dict.fromkeys(STEPS, "placed"),
    query=_query,
    details=_details,
)


async def packing_slips(request: web.Request) -> web.Response:
    """GET /admin/orders/slips?number=...&number=...: one sheet for each order, in its language."""
    numbers = _numbers(request.query.getall("number", []))
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await backoffice_orders.by_numbers(conn, numbers)
        book_ids = {line.book_id for order in found for line in order.items}
        books = await catalogue_books.by_ids(conn, sorted(book_ids))
    if not found:
        raise NotFound("This order")
    sender = request.config_dict[SETTINGS].store_name
    slips = []
    for order in found:
        with i18n.using_language(order.language):
            content = {"books": books, "order": order, "sender": sender}
            slips.append(part(request, "packing_slip.html", content))
    back = back_to(request.query.get("back"), LIST.url())
    return await page(request, "packing_slips.html", back=back, slips=slips)


async def move_many(request: web.Request) -> web.Response:
    """POST /admin/orders: the selected orders take the same step; failures are reported.

    With `all`, every order of the list takes the step.  A preview is shown first.  It is also shown
    before orders are shipped, because customers receive e-mails at once.
    """
    form = await forms.read(request)
    sent = await request.post()
    numbers = _numbers(value for value in sent.getall("number", []) if isinstance(value, str))
    back = back_to(form.get("back"), LIST.url())

    async def plan(conn: AsyncConnection, chosen: Select[tuple[int]]) -> int:
        to = _state(form.get("to", ""))
        return await bulk_changes.plan_moves(conn, chosen, to, **made_by(request))

    if form.get("all") == "yes":
        raise await bulk_preview.redirect_to_plan(request, LIST, back, plan)
    if not numbers:
        await flash.add(request, "warn", "No orders selected. Select orders first.")
        raise web.HTTPSeeOther(back)

    if form.get("to") == State.SHIPPED and form.get("checked") != "yes":
        return await _preview_shipments(request, numbers, form)
    try:
        to = _state(form.get("to", ""))
        trackings = _trackings(numbers, form)
        moved = await write(
            request, orders.move_many, numbers, to, trackings=trackings, **made_by(request)
        )
    except Invalid as error:
        if error.field not in form:
            raise
        return await _preview_shipments(
            request, numbers, form, FormError.from_error(error, error.field, form)
        )
    except BookstoreError as error:
        await flash.add(request, "bad", str(error))
    else:
        await _report(request, moved, to)
    raise web.HTTPSeeOther(back)


async def _preview_shipments(
    request: web.Request,
    numbers: Sequence[str],
    form: Mapping[str, str],
    form_error: FormError = NO_ERROR,
) -> web.Response:
    """The orders that would be shipped, each with a field for its tracking number."""
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await backoffice_orders.by_numbers(conn, numbers)
    return await page(
        request,
        "ship_orders.html",
        back=back_to(form.get("back"), LIST.url()),
        orders=[order for order in found if State.SHIPPED in orders.NEXT.get(order.status, ())],
        others=[order for order in found if State.SHIPPED not in orders.NEXT.get(order.status, ())],
        form_error=form_error,
        max_tracking=MAX_TRACKING_LENGTH,
    )


def _trackings(numbers: Iterable[str], form: Mapping[str, str]) -> dict[str, str]:
    """The tracking numbers that were typed, by order number.

    Raises:
        Invalid: one of them is too long; its field is the name of the form's field.
    """
    fields = {number: f"tracking-{number}" for number in numbers}
    typed = {number: parse_tracking(field, form.get(field, "")) for number, field in fields.items()}
    return {number: tracking for number, tracking in typed.items() if tracking}


async def _report(request: web.Request, moved: MoveResult, to: str) -> None:
    for number, why in list(moved.refused.items())[:_SHOWN_ERRORS]:
        await flash.add(request, "bad", f"{number}: {why}")
    if len(moved.refused) > _SHOWN_ERRORS:
        more = len(moved.refused) - _SHOWN_ERRORS
        await flash.add(request, "bad", f"and {more} more orders were not changed.")
    if moved.done:
        subject = "order is" if len(moved.done) == 1 else "orders are"
        await flash.add(request, "ok", f"{len(moved.done)} {subject} {to}.")


def _state(text: str) -> State:
    if text not in set(State):
        raise Invalid("to", "This status does not exist.")
    return State(text)


def _numbers(values: Iterable[str]) -> list[str]:
    return [each for each in values if each.isprintable()][:MAX_SELECTED]
