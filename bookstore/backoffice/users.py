"""The users list of the back office."""

from dataclasses import dataclass
from operator import eq
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.backoffice import lists
from bookstore.backoffice.lists import List
from bookstore.database.tables import users as table
from bookstore.users.accounts import USER_COLUMNS, user_from_row
from bookstore.users.permissions import Permission, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class UserQuery:
    """Filters for users, combined with AND.

    `q` is the prefix of an e-mail address or part of a name.  `disabled` means only disabled users.
    """

    q: str = ""
    role: Role | None = None
    disabled: bool = False


async def _select(conn: AsyncConnection, query: UserQuery) -> Select[Any]:
    found = lists.where(select(*USER_COLUMNS), (table.c.role, eq, query.role))
    if words := query.q.strip():
        found = found.where(
            or_(
                table.c.email_key.startswith(words.casefold(), autoescape=True),
                table.c.name.contains(words, autoescape=True),
            )
        )
    return found.where(table.c.disabled_at.is_not(None)) if query.disabled else found


USERS = List(
    name="users",
    query=UserQuery,
    select=_select,
    load=lists.each(user_from_row),
    id=table.c.id,
    sorts={
        "since": table.c.id,
        "name": table.c.name,
        "email": table.c.email_key,
        "role": table.c.role,
    },
    default_sort="-since",
    columns={
        **lists.attributes("id", "name", "email", "role"),
        "confirmed": "email_verified",
        "disabled": "disabled",
        "since": "created_at",
    },
    export_permission=Permission.CHANGE_USERS,
)
