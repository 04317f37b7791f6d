"""E-mails: list, text and status of each, and sending again."""

from collections.abc import Mapping

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import bulk_preview, exports, form_values
from admin.list_state import Filter, ListState, format_total, parse_query
from admin.rendering import back_to, page, run_action
from bookstore import notifications
from bookstore.backoffice import bulk_changes, list_exports, reports
from bookstore.backoffice import emails as backoffice_emails
from bookstore.database.engine import reading, transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import NotFound
from bookstore.notifications import EmailStatus, Notification, emails
from bookstore.notifications.emails import EmailKind, StoreFacts
from bookstore.tasks import failures
from bookstore.tasks.outbox import Task
from web.auth.sessions import current_user
from web.server.keys import ENGINE, SETTINGS
from web.server.request_context import now
from web.server.security import CONTENT_SECURITY_POLICY
from web.store import flash, forms

#: As many rows as the longest page has; this also limits the duration of the transaction.
MAX_SELECTED = 100
LIST = "/admin/notifications"
IN_DOUBT = "in-doubt"
#: The tabs of the list: value of the query parameter and label.
TABS = {str(EmailStatus.FAILED): "Failed", IN_DOUBT: "In doubt", str(EmailStatus.QUEUED): "Waiting"}
_FILTERS = (
    Filter("status", "Status", TABS, tab=True),
    Filter("q", "Search"),
    Filter(
        "kind", "Kind", {kind: kind.replace("-", " ").capitalize() for kind in map(str, EmailKind)}
    ),
    Filter("since", "Since", kind="day"),
)
#: An e-mail may use its own styles, but no scripts, no pictures and no other host.
BODY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"


def _list_state(request: web.Request) -> ListState:
    return _list_state_of(request.query)


def _list_state_of(params: Mapping[str, str]) -> ListState:
    return ListState(
        params, LIST, _FILTERS, sorts=[*backoffice_emails.SORTS], sort=backoffice_emails.NEWEST
    )


def _query(list_state: ListState) -> backoffice_emails.EmailListQuery:
    status, kind = list_state.text("status"), list_state.text("kind")
    return backoffice_emails.EmailListQuery(
        q=list_state.text("q"),
        status=EmailStatus(status) if status and status != IN_DOUBT else None,
        in_doubt=status == IN_DOUBT,
        kind=EmailKind(kind) if kind else None,
        since=list_state.day("since"),
    )


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/notifications; `email` is the one to show beside the list."""
    list_state, email_id = _list_state(request), request.query.get("email", "")
    async with reading(request.config_dict[ENGINE]) as conn:
        counted = await reports.email_counts(conn)
        ids = await backoffice_emails.select_ids(conn, _query(list_state))
        selected, attempts = await _selected(conn, email_id) if email_id else (None, [])
        # If an e-mail is shown, its own queries take the place of the count.
        number = None
        if list_state.chips and selected is None:
            number = format_total(await backoffice_emails.count(conn, ids))
        found = await backoffice_emails.find(
            conn, ids, sort=list_state.sort, cursor=list_state.cursor, limit=list_state.size
        )
    counts = {
        "": counted.all,
        str(EmailStatus.FAILED): counted.failed,
        IN_DOUBT: counted.in_doubt,
        str(EmailStatus.QUEUED): counted.waiting,
    }
    tab = list_state.values["status"]
    answer = await page(
        request,
        "notifications.html",
        counts=counts,
        found=found,
        list=list_state,
        number=number or ("" if list_state.chips else f"{counts[tab]:,}"),
        selected=selected,
        tab=tab,
        tabs=TABS,
        failures=attempts,
    )
    if selected is not None:
        # This is the only frame in the dashboard.
        answer.headers["Content-Security-Policy"] = f"{CONTENT_SECURITY_POLICY}; frame-src 'self'"
    return answer


async def show_body(request: web.Request) -> web.Response:
    """GET /admin/notifications/{notification_id}/body: the e-mail as the customer sees it."""
    async with reading(request.config_dict[ENGINE]) as conn:
        email = await notifications.get_email(conn, int(request.match_info["notification_id"]))
    return web.Response(
        text=emails.html(email, StoreFacts.of(request.config_dict[SETTINGS])),
        content_type="text/html",
        headers={"Content-Security-Policy": BODY_POLICY, "Cache-Control": "no-store"},
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/notifications/export.csv: all e-mails of the list."""
    list_state = _list_state(request)
    return await exports.send(request, list_exports.EMAILS, _query(list_state), list_state.sort)


async def resend(request: web.Request) -> web.Response:
    """POST /admin/notifications/{notification_id}/resend."""
    notification_id = int(request.match_info["notification_id"])
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        sent = await notifications.resend(
            conn, notification_id, user_id=current_user(request).id, now=now()
        )
        if sent.email_status is EmailStatus.SENDING:
            return "This e-mail is being sent right now."
        return f"“{sent.subject}” will be sent to {sent.recipient} again."

    await run_action(request, work)
    if form.get("order"):
        raise web.HTTPSeeOther(back_to(form["order"], "/admin/orders"))
    raise web.HTTPSeeOther(back_to(form.get("back"), LIST))


async def resend_many(request: web.Request) -> web.Response:
    """POST /admin/notifications/resend: send the selected e-mails again.

    With `all`, every e-mail of the list is sent again, for example after an outage of the mail
    server.  A preview is shown first.
    """
    form, sent = await forms.read(request), await request.post()
    ticked = form_values.parse_ids(sent.getall("notification", []), MAX_SELECTED)
    back = back_to(form.get("back"), LIST)
    if form.get("all") == "yes":
        await _plan(request, back)

    async def work(conn: AsyncConnection) -> str:
        number = await notifications.resend_many(
            conn, ticked, user_id=current_user(request).id, now=now()
        )
        return f"{number} {'e-mail is' if number == 1 else 'e-mails are'} sent again."

    if ticked:
        await run_action(request, work)
    else:
        await flash.add(request, "warn", "No e-mails selected. Select e-mails first.")
    raise web.HTTPSeeOther(back)


async def _plan(request: web.Request, back: str) -> None:
    """Plan to send all e-mails of the list with this URL again, and redirect to the preview."""

    async def work() -> int:
        async with transaction(request.config_dict[ENGINE]) as conn:
            chosen = await backoffice_emails.select_ids(
                conn, _query(_list_state_of(parse_query(back)))
            )
            return await bulk_changes.plan_resend(
                conn, chosen, user_id=current_user(request).id, now=now()
            )

    raise await bulk_preview.redirect_to_plan(request, work, to=LIST, back=back)


async def send_test(request: web.Request) -> web.Response:
    """POST /admin/notifications/test: send a test e-mail to yourself, like all other e-mails."""
    user = current_user(request)
    store = request.config_dict[SETTINGS].store_name

    async def work(conn: AsyncConnection) -> str:
        await notifications.queue(
            conn,
            EmailKind.MESSAGE,
            recipient=user.email,
            user_id=user.id,
            subject=f"Test e-mail from {store}",
            body=f"Dear {user.name},\n\nThis test e-mail was sent in the same way as all e-mails of"
            f" {store}. If you can read it, e-mails are delivered.",
            now=now(),
        )
        return f"A test e-mail is being sent to {user.email}. The list shows its status."

    await run_action(request, work)
    raise web.HTTPSeeOther(LIST)


async def _selected(
    conn: AsyncConnection, email_id: str
) -> tuple[Notification, list[failures.Failure]]:
    if not (form_values.is_id(email_id) and int(email_id) <= LARGEST_ID):
        raise NotFound("This e-mail")
    email = await notifications.get(conn, int(email_id))
    return email, await failures.of(conn, [(Task.SEND_NOTIFICATIONS, email.id)])
