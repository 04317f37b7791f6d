"""The list of users."""

from aiohttp import web

from admin import exports
from admin.list_state import Filter, ListState, format_total
from admin.rendering import page
from bookstore.backoffice import list_exports
from bookstore.backoffice import users as backoffice_users
from bookstore.database.engine import reading
from bookstore.users.permissions import Role
from web.server.keys import ENGINE

LIST = "/admin/users"
_FILTERS = (
    Filter("q", "Search"),
    Filter("role", "Role", {role: role.capitalize() for role in map(str, Role)}),
    Filter("disabled", "Access", {"yes": "Disabled"}),
)


def _list_state(request: web.Request) -> ListState:
    return ListState(
        request.query, LIST, _FILTERS, sorts=[*backoffice_users.SORTS], sort=backoffice_users.NEWEST
    )


def _query(list_state: ListState) -> backoffice_users.UserQuery:
    role = list_state.text("role")
    return backoffice_users.UserQuery(
        q=list_state.text("q") or "",
        role=Role(role) if role else None,
        disabled=bool(list_state.text("disabled")),
    )


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/users: by name or e-mail address, newest first."""
    list_state = _list_state(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        number = await backoffice_users.count(conn, _query(list_state))
        found = await backoffice_users.find(
            conn,
            _query(list_state),
            sort=list_state.sort,
            cursor=list_state.cursor,
            limit=list_state.size,
        )
    return await page(
        request, "users.html", found=found, list=list_state, number=format_total(number)
    )


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/users/export.csv: all users of the list."""
    list_state = _list_state(request)
    return await exports.send(request, list_exports.USERS, _query(list_state), list_state.sort)
