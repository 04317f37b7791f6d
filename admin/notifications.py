"""Letters: what became of each, what it says, and sending it again."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.page import back_to, carry_out, page
from bookstore import letters, notifications, reports
from bookstore.db import reading
from bookstore.errors import NotFound
from bookstore.letters import Letter, Store
from bookstore.notifications import Status
from bookstore.records import LARGEST_ID
from web.keys import ENGINE, SETTINGS
from web.requests import now
from web.sessions import me
from web.store import forms

PAGE = 25
#: One transaction takes no longer than a page does.
AT_ONCE = 50
LIST = "/admin/notifications"
#: Each view of the list, by what its address says.
TABS = {
    "": "All",
    "failed": "Failed",
    "in-doubt": "In doubt",
    "queued": "Waiting",
}


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/notifications; `letter` is the one to be read beside the list."""
    tab = request.query.get("status", "")
    tab = tab if tab in TABS else ""
    chosen = request.query.get("letter", "")
    cursor = request.query.get("cursor")
    async with reading(request.config_dict[ENGINE]) as conn:
        counts = await reports.letters(conn)
        found = await notifications.find(
            conn,
            status=Status(tab) if tab in set(Status) else None,
            in_doubt=True if tab == "in-doubt" else None,
            cursor=cursor,
            limit=PAGE,
        )
        opened, letter = None, None
        if chosen.isdecimal() and chosen.isascii() and int(chosen) <= LARGEST_ID:
            opened = await notifications.get(conn, int(chosen))
            letter = await notifications.letter(conn, opened.id)
        elif chosen:
            raise NotFound("This letter")
    return await page(
        request,
        "notifications.html",
        at_once=AT_ONCE,
        back=request.path_qs,
        counts={
            "": counts.all,
            "failed": counts.failed,
            "in-doubt": counts.in_doubt,
            "queued": counts.waiting,
        },
        cursor=cursor,
        found=found,
        opened=opened,
        tab=tab,
        tabs=TABS,
        text=_text(request, letter) if letter is not None else "",
    )


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


async def resend_failed(request: web.Request) -> web.Response:
    """POST /admin/notifications/resend-failed: as when a mail server was away for days."""

    async def work(conn: AsyncConnection) -> str:
        found = await notifications.find(conn, status=Status.FAILED, limit=AT_ONCE)
        for letter in reversed(found.items):  # Rows are locked by ascending id.
            await notifications.resend(conn, letter.id, user_id=me(request).id, now=now())
        more = " There are more; send those next." if found.next else ""
        return f"{len(found.items)} {_letters(len(found.items))} again.{more}"

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"{LIST}?status=failed")


def _letters(number: int) -> str:
    return "letter goes out" if number == 1 else "letters go out"


def _text(request: web.Request, letter: Letter) -> str:
    """The letter as a customer without pictures reads it."""
    return letters.plain(letter, Store.of(request.config_dict[SETTINGS]))
