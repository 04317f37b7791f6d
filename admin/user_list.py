"""Users: found, one by one or all of them."""

from aiohttp import web

from admin import exports
from admin.list_state import Filter, Listing, total
from admin.rendering import page
from bookstore.backoffice import list_exports
from bookstore.backoffice import users as desk
from bookstore.database.engine import reading
from bookstore.users.permissions import Role
from web.server.keys import ENGINE

LIST = "/admin/users"
_FILTERS = (
    Filter("q", "Find"),
    Filter("role", "Role", {role: role.capitalize() for role in map(str, Role)}),
    Filter("out", "Access", {"yes": "Shut out"}),
)


def _listing(request: web.Request) -> Listing:
    return Listing(request.query, LIST, _FILTERS, sorts=[*desk.SORTS], sort=desk.NEWEST)


def _query(listing: Listing) -> desk.Query:
    role = listing.text("role")
    return desk.Query(
        q=listing.text("q") or "",
        role=Role(role) if role else None,
        disabled=bool(listing.text("out")),
    )


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/users: by name or address, the newest first."""
    listing = _listing(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        number = await desk.count(conn, _query(listing))
        found = await desk.find(
            conn, _query(listing), sort=listing.sort, cursor=listing.cursor, limit=listing.size
        )
    return await page(request, "users.html", found=found, list=listing, number=total(number))


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/users/export.csv: all users that the list shows."""
    listing = _listing(request)
    return await exports.send(request, list_exports.USERS, _query(listing), listing.sort)
