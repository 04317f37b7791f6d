"""E-mails: list, text and status of each, and sending again."""

from typing import Any

from aiohttp import web
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import bulk_preview, form_values
from admin.access import made_by
from admin.list_state import Filter, ListState, labels, start_of_day
from admin.lists import AdminList, View
from admin.rendering import back_to, run_action
from bookstore import notifications
from bookstore.backoffice import bulk_changes, reports
from bookstore.backoffice import emails as backoffice_emails
from bookstore.backoffice.emails import EmailListQuery
from bookstore.errors import NotFound
from bookstore.notifications import EmailStatus, emails
from bookstore.notifications.emails import EmailKind, StoreFacts
from bookstore.tasks import failures
from bookstore.tasks.outbox import Task
from bookstore.users.permissions import Permission
from web.auth.sessions import current_user
from web.server.keys import SETTINGS
from web.server.request_context import now
from web.server.security import CONTENT_SECURITY_POLICY
from web.server.transactions import read
from web.store import flash, forms

#: As many rows as the longest page has; this also limits the duration of the transaction.
MAX_SELECTED = 100
IN_DOUBT = "in-doubt"
#: The tabs of the list: value of the query parameter and label.
TABS = {
    "": "All",
    str(EmailStatus.FAILED): "Failed",
    IN_DOUBT: "In doubt",
    str(EmailStatus.QUEUED): "Waiting",
}
#: An e-mail may use its own styles, but no scripts, no pictures and no other host.
BODY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"


def _query(state: ListState, _subject: None) -> EmailListQuery:
    if state.tab == IN_DOUBT:
        return state.query(EmailListQuery, status=None, in_doubt=True)
    return state.query(EmailListQuery)


async def _details(view: View) -> dict[str, Any]:
    """The query parameter `email` is the id of the one to show beside the list."""
    counted = await reports.email_counts(view.conn)
    values: dict[str, Any] = {
        "counts": {
            "": counted.all,
            str(EmailStatus.FAILED): counted.failed,
            IN_DOUBT: counted.in_doubt,
            str(EmailStatus.QUEUED): counted.waiting,
        },
        "selected": None,
    }
    if email_id := view.request.query.get("email", ""):
        values |= await _selected(view.conn, email_id)
        if view.state.chips:
            # The queries for this e-mail take the place of the count.
            values["number"] = ""
    return values


LIST = AdminList(
    rows=backoffice_emails.EMAILS,
    path="/notifications",
    template="notifications.html",
    permission=Permission.SEE_NOTIFICATIONS,
    filters=(
        Filter("status", "Status", TABS, parse=EmailStatus, tab=True),
        Filter("q", "Search"),
        Filter("kind", "Kind", labels(EmailKind), parse=EmailKind),
        Filter("since", "Since", parse=start_of_day),
    ),
    query=_query,
    details=_details,
)


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/notifications: the list, and the only frame of the dashboard with an e-mail."""
    answer = await LIST.show(request)
    if request.query.get("email"):
        answer.headers["Content-Security-Policy"] = f"{CONTENT_SECURITY_POLICY}; frame-src 'self'"
    return answer


async def show_body(request: web.Request) -> web.Response:
    """GET /admin/notifications/{notification_id}/body: the e-mail as the customer sees it."""
    notification_id = int(request.match_info["notification_id"])
    email = await read(request, notifications.get_email, notification_id)
    return web.Response(
        text=emails.html(email, StoreFacts.of(request.config_dict[SETTINGS])),
        content_type="text/html",
        headers={"Content-Security-Policy": BODY_POLICY, "Cache-Control": "no-store"},
    )


async def resend(request: web.Request) -> web.Response:
    """POST /admin/notifications/{notification_id}/resend."""
    notification_id = int(request.match_info["notification_id"])
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        sent = await notifications.resend(conn, notification_id, **made_by(request))
        if sent.email_status is EmailStatus.SENDING:
            return "This e-mail is being sent right now."
        return f"“{sent.subject}” will be sent to {sent.recipient} again."

    await run_action(request, work)
    if form.get("order"):
        raise web.HTTPSeeOther(back_to(form["order"], "/admin/orders"))
    raise web.HTTPSeeOther(back_to(form.get("back"), LIST.url()))


async def resend_many(request: web.Request) -> web.Response:
    """POST /admin/notifications/resend: send the selected e-mails again.

    With `all`, every e-mail of the list is sent again, for example after an outage of the mail
    server.  A preview is shown first.
    """
    form, sent = await forms.read(request), await request.post()
    ticked = form_values.parse_ids(sent.getall("notification", []), MAX_SELECTED)
    back, user_id = back_to(form.get("back"), LIST.url()), current_user(request).id

    async def plan(conn: AsyncConnection, chosen: Select[tuple[int]]) -> int:
        return await bulk_changes.plan_resend(conn, chosen, user_id=user_id, now=now())

    async def work(conn: AsyncConnection) -> str:
        number = await notifications.resend_many(conn, ticked, user_id=user_id, now=now())
        return f"{number} {'e-mail is' if number == 1 else 'e-mails are'} sent again."

    if form.get("all") == "yes":
        raise await bulk_preview.redirect_to_plan(request, LIST, back, plan)
    if ticked:
        await run_action(request, work)
    else:
        await flash.add(request, "warn", "No e-mails selected. Select e-mails first.")
    raise web.HTTPSeeOther(back)


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
    raise web.HTTPSeeOther(LIST.url())


async def _selected(conn: AsyncConnection, email_id: str) -> dict[str, Any]:
    if not form_values.is_id(email_id):
        raise NotFound("This e-mail")
    email = await notifications.get(conn, int(email_id))
    return {
        "selected": email,
        "failures": await failures.of(conn, Task.SEND_NOTIFICATIONS, email.id),
    }
