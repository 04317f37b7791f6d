"""Orders: found, and moved on many at once."""

from collections.abc import Iterable, Mapping

from aiohttp import web

from admin import bulk_preview, exports, form_values
from admin.list_state import Filter, Listing, query_of, total
from admin.rendering import back_to, page
from bookstore import orders
from bookstore.backoffice import bulk_changes, list_exports
from bookstore.backoffice import orders as desk
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BookstoreError, Invalid, NotFound
from bookstore.orders import Moved, State, bestsellers
from bookstore.payments import Payment
from web.auth.sessions import me
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now
from web.store import flash, forms

LIST = "/admin/orders"
UNPAID = "unpaid"
#: Packing is the work that waits, so it comes first.
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
#: What is done next with the orders of a tab.
STEPS = {str(State.CONFIRMED): State.PACKED, str(State.PACKED): State.SHIPPED}
#: As many as the longest page ticks.
MOST = 100
#: Refusals that are told one by one.
_TOLD = 5
_FILTERS = (
    Filter("status", "State", TABS, tab=True),
    Filter("q", "Find"),
    Filter(
        "payment", "Payment", {it: it.replace("_", " ").capitalize() for it in map(str, Payment)}
    ),
    Filter("since", "Placed from", kind="day"),
    Filter("until", "to", kind="day"),
    Filter("notes", "Notes", {"yes": "With a note of staff"}),
    Filter("user", "User"),
)


def _listing(request: web.Request) -> Listing:
    return _listing_of(request.query)


def _listing_of(asked: Mapping[str, str]) -> Listing:
    # What waits is worked off in turn; elsewhere the latest is looked for.
    first = desk.OLDEST if asked.get("status") in STEPS else desk.NEWEST
    return Listing(asked, LIST, _FILTERS, sorts=[*desk.SORTS], sort=first)


def _query(listing: Listing) -> desk.Query:
    status, payment = listing.text("status"), listing.text("payment")
    user = listing.text("user") or ""
    return desk.Query(
        q=listing.text("q"),
        status=State(status) if status and status != UNPAID else None,
        payment=Payment(payment) if payment else None,
        unpaid=status == UNPAID,
        user_id=int(user) if form_values.is_id(user) else None,
        since=listing.day("since"),
        until=listing.day_after("until"),
        noted=bool(listing.text("notes")),
    )


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/orders."""
    listing = _listing(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        states = await orders.count_by_state(conn)
        unpaid = await desk.count_unpaid(conn)
        ids = await desk.chosen(conn, _query(listing))
        found = await desk.find(
            conn, ids, sort=listing.sort, cursor=listing.cursor, limit=listing.size
        )
        counts = {str(state): number for state, number in states.items()} | {UNPAID: unpaid}
        every = sum(states.values())
        tab = listing.values["status"]
        number = counts[tab] if tab else every
        if listing.chips:
            number = await desk.count(conn, ids)
        noted = await desk.with_notes(conn, [order.id for order in found.items])
    return await page(
        request,
        "orders.html",
        counts=counts,
        every=every,
        found=found,
        list=listing,
        noted=noted,
        number=total(number) if listing.chips else f"{number:,}",
        step=STEPS.get(tab),
        tab=tab,
        tabs=TABS,
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/orders/export.csv: all orders that the list shows."""
    listing = _listing(request)
    return await exports.send(request, list_exports.ORDERS, _query(listing), listing.sort)


async def slips(request: web.Request) -> web.Response:
    """GET /admin/orders/slips?number=...&number=...: one sheet of paper for each order."""
    numbers = _numbers(request.query.getall("number", []))
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await desk.by_numbers(conn, numbers)
        book_ids = {line.book_id for order in found for line in order.items}
        books = await bestsellers.by_ids(conn, sorted(book_ids))
    if not found:
        raise NotFound("This order")
    return await page(
        request,
        "slips.html",
        back=back_to(request.query.get("back"), LIST),
        books=books,
        orders=found,
        sender=request.config_dict[SETTINGS].store_name,
    )


async def move_many(request: web.Request) -> web.Response:
    """POST /admin/orders: every ticked order takes the same step, or says why it does not.

    With `all` it is every order that the list shows: what would be done is shown first.
    """
    form = await forms.read(request)
    sent = await request.post()
    numbers = _numbers(value for value in sent.getall("number", []) if isinstance(value, str))
    back = back_to(form.get("back"), LIST)
    if form.get("all") == "yes":
        await _plan(request, back, form.get("to", ""))
    if not numbers:
        await flash.leave(request, "warn", "Nothing was ticked. Tick the orders first.")
        raise web.HTTPSeeOther(back)

    async def work() -> Moved:
        if form.get("to") not in set(State):
            raise Invalid("to", "There is no such state.")
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await orders.move_many(
                conn, numbers, State(form["to"]), user_id=me(request).id, now=now()
            )

    try:
        moved = await retry_transaction(work)
    except BookstoreError as error:
        await flash.leave(request, "bad", str(error))
    else:
        await _tell(request, moved, form["to"])
    raise web.HTTPSeeOther(back)


async def _plan(request: web.Request, back: str, to: str) -> None:
    """Plan the step for all orders of the list at this address, and go where it is shown."""

    async def work() -> int:
        if to not in set(State):
            raise Invalid("to", "There is no such state.")
        async with transaction(request.config_dict[ENGINE]) as conn:
            chosen = await desk.chosen(conn, _query(_listing_of(query_of(back))))
            return await bulk_changes.plan_moves(
                conn, chosen, State(to), user_id=me(request).id, now=now()
            )

    raise await bulk_preview.led(request, work, to=LIST, back=back)


async def _tell(request: web.Request, moved: Moved, to: str) -> None:
    for number, why in list(moved.refused.items())[:_TOLD]:
        await flash.leave(request, "bad", f"{number}: {why}")
    if len(moved.refused) > _TOLD:
        await flash.leave(request, "bad", f"and {len(moved.refused) - _TOLD} more stayed.")
    if moved.done:
        word = "order is" if len(moved.done) == 1 else "orders are"
        await flash.leave(request, "ok", f"{len(moved.done)} {word} {to} now.")


def _numbers(values: Iterable[str]) -> list[str]:
    return [each for each in values if each.isprintable()][:MOST]
