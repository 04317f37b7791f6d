"""Users: found, one by one or all of them."""

from collections.abc import Sequence

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports
from admin.lists import Filter, Listing, total
from admin.page import page
from bookstore.db import reading
from bookstore.desk import users as desk
from bookstore.desk.slices import Slice
from bookstore.permissions import Role
from bookstore.users import User
from web.keys import ENGINE

LIST = "/admin/users"
_FILTERS = (
    Filter("q", "Find"),
    Filter("role", "Role", {role: role.capitalize() for role in map(str, Role)}),
    Filter("out", "Access", {"yes": "Shut out"}),
)
_HEADS = ("id", "name", "email", "role", "confirmed", "shut_out", "since")


def _listing(request: web.Request) -> Listing:
    return Listing(request.query, LIST, _FILTERS, sorts=[*desk.SORTS], sort=desk.NEWEST)


def _asked(listing: Listing) -> tuple[str, Role | None, bool]:
    role = listing.text("role")
    return listing.text("q") or "", Role(role) if role else None, bool(listing.text("out"))


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/users: by name or address, the newest first."""
    listing = _listing(request)
    q, role, disabled = _asked(listing)
    async with reading(request.config_dict[ENGINE]) as conn:
        number = await desk.count(conn, q, role, disabled=disabled)
        found = await desk.find(
            conn,
            q,
            role,
            disabled=disabled,
            sort=listing.sort,
            cursor=listing.cursor,
            limit=listing.size,
        )
    return await page(request, "users.html", found=found, list=listing, number=total(number))


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/users/export.csv: all users that the list shows."""
    listing = _listing(request)
    q, role, disabled = _asked(listing)

    async def fetch(conn: AsyncConnection, cursor: str | None, limit: int) -> Slice[User]:
        return await desk.find(
            conn, q, role, disabled=disabled, sort=listing.sort, cursor=cursor, limit=limit
        )

    def row(person: User) -> Sequence[object]:
        return (
            person.id,
            person.name,
            person.email,
            str(person.role),
            "yes" if person.email_verified else "no",
            "yes" if person.disabled else "no",
            person.created_at,
        )

    return await exports.send(request, "user", _HEADS, fetch, row)
