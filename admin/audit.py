"""Who changed what, before and after, and from where."""

from aiohttp import web

from admin import exports, form_values
from admin.list_state import Filter, Listing
from admin.rendering import page
from bookstore.backoffice import audit_report, list_exports
from bookstore.backoffice.audit_report import Asked
from bookstore.database.engine import reading
from bookstore.database.pagination import LARGEST_ID
from bookstore.users import accounts
from web.server.keys import ENGINE

LIST = "/admin/audit"
#: What is changed by staff, and where it is shown.
OBJECTS = {
    "author": "/admin/authors/{}",
    "book": "/admin/books/{}",
    "category": "/admin/categories?change={}",
    "notification": "/admin/notifications?letter={}",
    "order": "/admin/orders/{}",
    "user": "/admin/users/{}",
}
#: Kinds of objects without a page of their own.
_OTHERS = ("task", "import", "token", "session")
_FILTERS = (
    Filter("object", "What", {it: it.capitalize() for it in sorted((*OBJECTS, *_OTHERS))}),
    Filter("id", "Its number or slug"),
    Filter("action", "Done"),
    Filter("user", "User"),
    Filter("since", "Since", kind="day"),
)


def _listing(request: web.Request) -> Listing:
    return Listing(
        request.query, LIST, _FILTERS, sorts=[*audit_report.AUDIT_SORTS], sort=audit_report.LATEST
    )


def _asked(listing: Listing) -> Asked:
    who = listing.text("user") or ""
    is_id = form_values.is_id(who)
    action = listing.text("action")
    return Asked(
        object_type=listing.text("object"),
        object_id=listing.text("id"),
        user_id=min(int(who), LARGEST_ID) if is_id else None,
        action=action.lower().replace(" ", "-") if action else None,
        since=listing.day("since"),
    )


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/audit."""
    listing = _listing(request)
    asked = _asked(listing)
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await audit_report.audit(
            conn, asked, sort=listing.sort, cursor=listing.cursor, limit=listing.size
        )
        names = await accounts.names(conn, {asked.user_id} if asked.user_id is not None else set())
    return await page(
        request,
        "audit.html",
        found=found,
        list=listing,
        objects=OBJECTS,
        who_name=names.get(asked.user_id or 0),
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/audit/export.csv: all changes that the list shows."""
    listing = _listing(request)
    return await exports.send(request, list_exports.AUDIT, _asked(listing), listing.sort)
