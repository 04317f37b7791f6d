"""The users list of the back office."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import list_pagination
from bookstore.database.list_pagination import ListPage
from bookstore.database.tables import users as table
from bookstore.users.accounts import USER_COLUMNS, User, user_from_row
from bookstore.users.permissions import Role

SORTS: dict[str, ColumnElement[object]] = {
    "since": table.c.id,
    "name": table.c.name,
    "email": table.c.email_key,
    "role": table.c.role,
}
NEWEST = "-since"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserQuery:
    """Filters for users, combined with AND.

    `q` is the prefix of an e-mail address or part of a name.  `disabled` means only disabled users.
    """

    q: str = ""
    role: Role | None = None
    disabled: bool = False


async def find(
    conn: AsyncConnection, query: UserQuery, *, sort: str, cursor: str | None, limit: int
) -> ListPage[User]:
    """The users that match the query.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, NEWEST)
    found = await list_pagination.select_page(
        conn, _filtered(query), by, cursor=cursor, limit=limit
    )
    return found.with_items([user_from_row(row) for row in found.items])


async def count(
    conn: AsyncConnection, query: UserQuery, up_to: int = list_pagination.MAX_COUNT
) -> int:
    """How many users match the query, at most `up_to`."""
    return await list_pagination.count(conn, _filtered(query), up_to)


def _filtered(query: UserQuery) -> Select[Any]:
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
