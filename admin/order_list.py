"""The list of orders; several orders can take the same step at once."""

from collections.abc import Iterable, Mapping

from aiohttp import web

from admin import bulk_preview, exports, form_values
from admin.list_state import Filter, ListState, format_total, parse_query
from admin.rendering import back_to, page
from bookstore import orders
from bookstore.backoffice import bulk_changes, list_exports
from bookstore.backoffice import orders as backoffice_orders
from bookstore.catalogue import books as catalogue_books
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BookstoreError, Invalid, NotFound
from bookstore.orders import MoveResult, State
from bookstore.payments import Payment
from web.auth.sessions import current_user
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now
from web.store import flash, forms

LIST = "/admin/orders"
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
}
#: The next step of the orders of a tab.
STEPS = {str(State.CONFIRMED): State.PACKED, str(State.PACKED): State.SHIPPED}
#: As many rows as the longest page has.
MAX_SELECTED = 100
#: More errors than these are only counted.
_SHOWN_ERRORS = 5
_FILTERS = (
    Filter("status", "State", TABS, tab=True),
    Filter("q", "Search"),
    Filter(
        "payment", "Payment", {it: it.replace("_", " ").capitalize() for it in map(str, Payment)}
    ),
    Filter("since", "Placed from", kind="day"),
    Filter("until", "to", kind="day"),
    Filter("notes", "Notes", {"yes": "With a staff note"}),
    Filter("user", "User"),
)


def _list_state(request: web.Request) -> ListState:
    return _list_state_of(request.query)


def _list_state_of(params: Mapping[str, str]) -> ListState:
    # Orders to pack and to ship are processed oldest first; other tabs show the newest first.
    first = backoffice_orders.OLDEST if params.get("status") in STEPS else backoffice_orders.NEWEST
    return ListState(params, LIST, _FILTERS, sorts=[*backoffice_orders.SORTS], sort=first)


def _query(list_state: ListState) -> backoffice_orders.OrderQuery:
    status, payment = list_state.text("status"), list_state.text("payment")
    user = list_state.text("user") or ""
    return backoffice_orders.OrderQuery(
        q=list_state.text("q"),
        status=State(status) if status and status != UNPAID else None,
        payment=Payment(payment) if payment else None,
        unpaid=status == UNPAID,
        user_id=int(user) if form_values.is_id(user) else None,
        since=list_state.day("since"),
        until=list_state.day_after("until"),
        noted=bool(list_state.text("notes")),
    )


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/orders."""
    list_state = _list_state(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        states = await orders.count_by_state(conn)
        unpaid = await backoffice_orders.count_unpaid(conn)
        ids = await backoffice_orders.select_ids(conn, _query(list_state))
        found = await backoffice_orders.find(
            conn, ids, sort=list_state.sort, cursor=list_state.cursor, limit=list_state.size
        )
        counts = {str(state): number for state, number in states.items()} | {UNPAID: unpaid}
        total = sum(states.values())
        tab = list_state.values["status"]
        number = counts[tab] if tab else total
        if list_state.chips:
            number = await backoffice_orders.count(conn, ids)
        with_notes = await backoffice_orders.with_notes(conn, [order.id for order in found.items])
    return await page(
        request,
        "orders.html",
        counts=counts,
        total=total,
        found=found,
        list=list_state,
        with_notes=with_notes,
        number=format_total(number) if list_state.chips else f"{number:,}",
        step=STEPS.get(tab),
        tab=tab,
        tabs=TABS,
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/orders/export.csv: all orders of the list."""
    list_state = _list_state(request)
    return await exports.send(request, list_exports.ORDERS, _query(list_state), list_state.sort)


async def packing_slips(request: web.Request) -> web.Response:
    """GET /admin/orders/slips?number=...&number=...: one sheet for each order."""
    numbers = _numbers(request.query.getall("number", []))
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await backoffice_orders.by_numbers(conn, numbers)
        book_ids = {line.book_id for order in found for line in order.items}
        books = await catalogue_books.by_ids(conn, sorted(book_ids))
    if not found:
        raise NotFound("This order")
    return await page(
        request,
        "packing_slips.html",
        back=back_to(request.query.get("back"), LIST),
        books=books,
        orders=found,
        sender=request.config_dict[SETTINGS].store_name,
    )


async def move_many(request: web.Request) -> web.Response:
    """POST /admin/orders: the selected orders take the same step; failures are reported.

    With `all`, every order of the list takes the step.  A preview is shown first.
    """
    form = await forms.read(request)
    sent = await request.post()
    numbers = _numbers(value for value in sent.getall("number", []) if isinstance(value, str))
    back = back_to(form.get("back"), LIST)
    if form.get("all") == "yes":
        await _plan(request, back, form.get("to", ""))
    if not numbers:
        await flash.add(request, "warn", "No orders selected. Select orders first.")
        raise web.HTTPSeeOther(back)

    async def work() -> MoveResult:
        if form.get("to") not in set(State):
            raise Invalid("to", "This status does not exist.")
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await orders.move_many(
                conn, numbers, State(form["to"]), user_id=current_user(request).id, now=now()
            )

    try:
        moved = await retry_transaction(work)
    except BookstoreError as error:
        await flash.add(request, "bad", str(error))
    else:
        await _report(request, moved, form["to"])
    raise web.HTTPSeeOther(back)


async def _plan(request: web.Request, back: str, to: str) -> None:
    """Plan the step for all orders of the list with this URL, and redirect to the preview."""

    async def work() -> int:
        if to not in set(State):
            raise Invalid("to", "This status does not exist.")
        async with transaction(request.config_dict[ENGINE]) as conn:
            chosen = await backoffice_orders.select_ids(
                conn, _query(_list_state_of(parse_query(back)))
            )
            return await bulk_changes.plan_moves(
                conn, chosen, State(to), user_id=current_user(request).id, now=now()
            )

    raise await bulk_preview.redirect_to_plan(request, work, to=LIST, back=back)


async def _report(request: web.Request, moved: MoveResult, to: str) -> None:
    for number, why in list(moved.refused.items())[:_SHOWN_ERRORS]:
        await flash.add(request, "bad", f"{number}: {why}")
    if len(moved.refused) > _SHOWN_ERRORS:
        await flash.add(
            request,
            "bad",
            f"and {len(moved.refused) - _SHOWN_ERRORS} more orders were not changed.",
        )
    if moved.done:
        subject = "order is" if len(moved.done) == 1 else "orders are"
        await flash.add(request, "ok", f"{len(moved.done)} {subject} {to}.")


def _numbers(values: Iterable[str]) -> list[str]:
    return [each for each in values if each.isprintable()][:MAX_SELECTED]
