"""Users as staff search them."""

from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.desk import slices
from bookstore.desk.slices import Slice
from bookstore.permissions import Role
from bookstore.tables import users as table
from bookstore.users import USER_COLUMNS, User, user_of

SORTS: dict[str, ColumnElement[object]] = {
    "since": table.c.id,
    "name": table.c.name,
    "email": table.c.email_key,
}
NEWEST = "-since"


async def find(
    conn: AsyncConnection,
    q: str = "",
    role: Role | None = None,
    *,
    disabled: bool = False,
    sort: str = NEWEST,
    cursor: str | None,
    limit: int,
) -> Slice[User]:
    """Users whose address begins with `q` or whose name has it, of a role, or shut out.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    by = slices.order(sort, SORTS, table.c.id, NEWEST)
    query = _filtered(q, role, disabled=disabled)
    found = await slices.cut(conn, query, by, cursor=cursor, limit=limit)
    return found.of([user_of(row) for row in found.items])


async def count(
    conn: AsyncConnection, q: str = "", role: Role | None = None, *, disabled: bool = False
) -> int:
    """How many there are of these, up to `slices.COUNTED`."""
    return await slices.count(conn, _filtered(q, role, disabled=disabled))


def _filtered(q: str, role: Role | None, *, disabled: bool) -> Select[Any]:
    found = select(*USER_COLUMNS)
    if q.strip():
        words = q.strip()
        found = found.where(
            or_(
                table.c.email_key.startswith(words.casefold(), autoescape=True),
                table.c.name.contains(words, autoescape=True),
            )
        )
    if role is not None:
        found = found.where(table.c.role == role)
    if disabled:
        found = found.where(table.c.disabled_at.is_not(None))
    return found
