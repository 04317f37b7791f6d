"""Letters: what became of each, what it says, and sending it again."""

from collections.abc import Mapping

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import bulk_preview, exports, form_values
from admin.list_state import Filter, Listing, query_of, total
from admin.rendering import back_to, carry_out, page
from bookstore import notifications
from bookstore.backoffice import bulk_changes, list_exports, reports
from bookstore.backoffice import emails as desk
from bookstore.database.engine import reading, transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import NotFound
from bookstore.notifications import Notification, Status, emails
from bookstore.notifications.emails import Kind, Store
from bookstore.tasks import failures
from bookstore.tasks.outbox import Task
from web.auth.sessions import me
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now
from web.server.security import CONTENT_SECURITY_POLICY
from web.store import flash, forms

#: One transaction takes no longer than a page does.
AT_ONCE = 100
LIST = "/admin/notifications"
IN_DOUBT = "in-doubt"
#: Each view of the list, by what its address says.
TABS = {str(Status.FAILED): "Failed", IN_DOUBT: "In doubt", str(Status.QUEUED): "Waiting"}
_FILTERS = (
    Filter("status", "State", TABS, tab=True),
    Filter("q", "Find"),
    Filter("kind", "Kind", {kind: kind.replace("-", " ").capitalize() for kind in map(str, Kind)}),
    Filter("since", "Since", kind="day"),
)
#: A letter's own styles are let in, and nothing else: no script, no picture, no other host.
BODY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"


def _listing(request: web.Request) -> Listing:
    return _listing_of(request.query)


def _listing_of(asked: Mapping[str, str]) -> Listing:
    return Listing(asked, LIST, _FILTERS, sorts=[*desk.SORTS], sort=desk.NEWEST)


def _query(listing: Listing) -> desk.Query:
    status, kind = listing.text("status"), listing.text("kind")
    return desk.Query(
        q=listing.text("q"),
        status=Status(status) if status and status != IN_DOUBT else None,
        in_doubt=status == IN_DOUBT,
        kind=Kind(kind) if kind else None,
        since=listing.day("since"),
    )


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/notifications; `letter` is the one to be read beside the list."""
    listing, chosen = _listing(request), request.query.get("letter", "")
    async with reading(request.config_dict[ENGINE]) as conn:
        counted = await reports.letters(conn)
        ids = await desk.chosen(conn, _query(listing))
        opened, tries = await _opened(conn, chosen) if chosen else (None, [])
        # A letter beside the list takes its own look at the database.
        number = None
        if listing.chips and opened is None:
            number = total(await desk.count(conn, ids))
        found = await desk.find(
            conn, ids, sort=listing.sort, cursor=listing.cursor, limit=listing.size
        )
    counts = {
        "": counted.all,
        str(Status.FAILED): counted.failed,
        IN_DOUBT: counted.in_doubt,
        str(Status.QUEUED): counted.waiting,
    }
    tab = listing.values["status"]
    answer = await page(
        request,
        "notifications.html",
        counts=counts,
        found=found,
        list=listing,
        number=number or ("" if listing.chips else f"{counts[tab]:,}"),
        opened=opened,
        tab=tab,
        tabs=TABS,
        tries=tries,
    )
    if opened is not None:
        # Nothing is framed in the dashboard but this.
        answer.headers["Content-Security-Policy"] = f"{CONTENT_SECURITY_POLICY}; frame-src 'self'"
    return answer


async def show_body(request: web.Request) -> web.Response:
    """GET /admin/notifications/{notification_id}/body: the letter as the customer sees it."""
    async with reading(request.config_dict[ENGINE]) as conn:
        letter = await notifications.letter(conn, int(request.match_info["notification_id"]))
    return web.Response(
        text=emails.html(letter, Store.of(request.config_dict[SETTINGS])),
        content_type="text/html",
        headers={"Content-Security-Policy": BODY_POLICY, "Cache-Control": "no-store"},
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/notifications/export.csv: all letters that the list shows."""
    listing = _listing(request)
    return await exports.send(request, list_exports.LETTERS, _query(listing), listing.sort)


async def resend(request: web.Request) -> web.Response:
    """POST /admin/notifications/{notification_id}/resend."""
    notification_id = int(request.match_info["notification_id"])
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        sent = await notifications.resend(conn, notification_id, user_id=me(request).id, now=now())
        if sent.email_status is Status.SENDING:
            return "This letter is being sent at this moment."
        return f"“{sent.subject}” goes to {sent.recipient} again."

    await carry_out(request, work)
    if form.get("order"):
        raise web.HTTPSeeOther(back_to(form["order"], "/admin/orders"))
    raise web.HTTPSeeOther(back_to(form.get("back"), LIST))


async def resend_many(request: web.Request) -> web.Response:
    """POST /admin/notifications/resend: those that are ticked.

    With `all` it is every letter that the list shows, as when a mail server was away for days:
    what would be done is shown first.
    """
    form, sent = await forms.read(request), await request.post()
    ticked = form_values.ids(sent.getall("letter", []), AT_ONCE)
    back = back_to(form.get("back"), LIST)
    if form.get("all") == "yes":
        await _plan(request, back)

    async def work(conn: AsyncConnection) -> str:
        number = await notifications.resend_many(conn, ticked, user_id=me(request).id, now=now())
        return f"{number} {'letter goes' if number == 1 else 'letters go'} out again."

    if ticked:
        await carry_out(request, work)
    else:
        await flash.leave(request, "warn", "Nothing was ticked. Tick the letters first.")
    raise web.HTTPSeeOther(back)


async def _plan(request: web.Request, back: str) -> None:
    """Plan to send all letters of the list at this address, and go where that is shown."""

    async def work() -> int:
        async with transaction(request.config_dict[ENGINE]) as conn:
            chosen = await desk.chosen(conn, _query(_listing_of(query_of(back))))
            return await bulk_changes.plan_letters(conn, chosen, user_id=me(request).id, now=now())

    raise await bulk_preview.led(request, work, to=LIST, back=back)


async def send_test(request: web.Request) -> web.Response:
    """POST /admin/notifications/test: a letter to oneself, on the way that all letters take."""
    who = me(request)
    store = request.config_dict[SETTINGS].store_name

    async def work(conn: AsyncConnection) -> str:
        await notifications.queue(
            conn,
            Kind.MESSAGE,
            recipient=who.email,
            user_id=who.id,
            subject=f"A test letter from {store}",
            body=f"Dear {who.name},\n\nthis letter came the way that all letters of {store} take."
            " If you can read it, they arrive.",
            now=now(),
        )
        return f"A test letter goes to {who.email}. What became of it stands in the list."

    await carry_out(request, work)
    raise web.HTTPSeeOther(LIST)


async def _opened(
    conn: AsyncConnection, chosen: str
) -> tuple[Notification, list[failures.Failure]]:
    if not (form_values.is_id(chosen) and int(chosen) <= LARGEST_ID):
        raise NotFound("This letter")
    letter = await notifications.get(conn, int(chosen))
    return letter, await failures.of(conn, [(Task.SEND_NOTIFICATIONS, letter.id)])
