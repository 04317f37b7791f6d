"""Users as staff search them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import list_pagination
from bookstore.database.list_pagination import Slice
from bookstore.database.tables import users as table
from bookstore.users.accounts import USER_COLUMNS, User, user_of
from bookstore.users.permissions import Role

SORTS: dict[str, ColumnElement[object]] = {
    "since": table.c.id,
    "name": table.c.name,
    "email": table.c.email_key,
    "role": table.c.role,
}
NEWEST = "-since"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which users; all conditions have to hold.

    Their address begins with `q`, or their name has it; `disabled` ones are shut out.
    """

    q: str = ""
    role: Role | None = None
    disabled: bool = False


async def find(
    conn: AsyncConnection, query: Query, *, sort: str, cursor: str | None, limit: int
) -> Slice[User]:
    """Users that meet the query.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, NEWEST)
    found = await list_pagination.cut(conn, _filtered(query), by, cursor=cursor, limit=limit)
    return found.of([user_of(row) for row in found.items])


async def count(conn: AsyncConnection, query: Query, most: int = list_pagination.COUNTED) -> int:
    """How many there are of these, up to `most`."""
    return await list_pagination.count(conn, _filtered(query), most)


def _filtered(query: Query) -> Select[Any]:
    found = select(*USER_COLUMNS)
    if words := query.q.strip():
        found = found.where(
            or_(
                table.c.email_key.startswith(words.casefold(), autoescape=True),
                table.c.name.contains(words, autoescape=True),
            )
        )
    if query.role is not None:
        found = found.where(table.c.role == query.role)
    if query.disabled:
        found = found.where(table.c.disabled_at.is_not(None))
    return found
