"""Everything that is held about a user, for the user (GDPR, articles 15 and 20)."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import metadata
from bookstore.privacy.data_map import HELD, Kind

#: A row's columns by their names, as JSON can say them.
Row = dict[str, Any]


async def of_user(conn: AsyncConnection, user_id: int) -> dict[str, list[Row]]:
    """The rows of every table that are about a user, by the table's name.

    What opens something, such as a password's hash, is left out: it tells its owner nothing,
    and a thief something.
    """
    found: dict[str, list[Row]] = {}
    for name, held in HELD.items():
        if held.whose is None:
            continue
        table = metadata.tables[name]
        kinds = held.kind_of()
        secret = (None, Kind.CREDENTIAL)
        shown = [column for column in table.c if kinds.get(column.name) not in secret]
        rows = await conn.execute(
            select(*shown).where(held.whose(user_id)).order_by(*table.primary_key.columns)
        )
        found[name] = [{key: _plain(value) for key, value in row._mapping.items()} for row in rows]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value.hex() if isinstance(value, bytes) else value
