"""The audit log: each change by staff, with values before and after, user and address."""

from aiohttp import web

from admin import exports, form_values
from admin.list_state import Filter, ListState
from admin.rendering import page
from bookstore.backoffice import audit_report, list_exports
from bookstore.backoffice.audit_report import AuditQuery
from bookstore.database.engine import reading
from bookstore.database.pagination import LARGEST_ID
from bookstore.users import accounts
from web.server.keys import ENGINE

LIST = "/admin/audit"
#: The page of each type of object.
OBJECT_URLS = {
    "author": "/admin/authors/{}",
    "book": "/admin/books/{}",
    "category": "/admin/categories?change={}",
    "notification": "/admin/notifications?email={}",
    "order": "/admin/orders/{}",
    "user": "/admin/users/{}",
}
#: Types of objects without a page.
_OBJECTS_WITHOUT_PAGE = ("task", "import", "token", "session")
_FILTERS = (
    Filter(
        "object",
        "Object",
        {it: it.capitalize() for it in sorted((*OBJECT_URLS, *_OBJECTS_WITHOUT_PAGE))},
    ),
    Filter("id", "Number or slug"),
    Filter("action", "Action"),
    Filter("user", "User"),
    Filter("since", "Since", kind="day"),
)


def _list_state(request: web.Request) -> ListState:
    return ListState(
        request.query, LIST, _FILTERS, sorts=[*audit_report.AUDIT_SORTS], sort=audit_report.LATEST
    )


def _query(list_state: ListState) -> AuditQuery:
    who = list_state.text("user") or ""
    is_id = form_values.is_id(who)
    action = list_state.text("action")
    return AuditQuery(
        object_type=list_state.text("object"),
        object_id=list_state.text("id"),
        user_id=min(int(who), LARGEST_ID) if is_id else None,
        action=action.lower().replace(" ", "-") if action else None,
        since=list_state.day("since"),
    )


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/audit."""
    list_state = _list_state(request)
    params = _query(list_state)
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await audit_report.audit(
            conn, params, sort=list_state.sort, cursor=list_state.cursor, limit=list_state.size
        )
        names = await accounts.names(
            conn, {params.user_id} if params.user_id is not None else set()
        )
    return await page(
        request,
        "audit.html",
        found=found,
        list=list_state,
        object_urls=OBJECT_URLS,
        who_name=names.get(params.user_id or 0),
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/audit/export.csv: all changes of the list."""
    list_state = _list_state(request)
    return await exports.send(request, list_exports.AUDIT, _query(list_state), list_state.sort)
