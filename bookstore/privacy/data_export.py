"""Export of all data about a user, for the user (GDPR, articles 15 and 20)."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.documents import DamagedList, DamagedObject
from bookstore.database.tables import metadata
from bookstore.privacy.data_map import DATA_MAP, DataKind

#: The columns of a row by name, with values that JSON can represent.
Row = dict[str, Any]


async def of_user(conn: AsyncConnection, user_id: int) -> dict[str, list[Row]]:
    """The rows of every table that are about a user, by table name.

    Credentials such as password hashes are omitted: they are of no use to the user and would help
    an attacker.
    """
    found: dict[str, list[Row]] = {}
    for name, data in DATA_MAP.items():
        if data.rows_of is None:
            continue
        table = metadata.tables[name]
        kinds = data.kind_by_column()
        omitted = (None, DataKind.CREDENTIAL)
        shown = [column for column in table.c if kinds.get(column.name) not in omitted]
        rows = await conn.execute(
            select(*shown).where(data.rows_of(user_id)).order_by(*table.primary_key.columns)
        )
        found[name] = [{key: _plain(value) for key, value in row._mapping.items()} for row in rows]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, DamagedObject | DamagedList):
        return value.stored
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value.hex() if isinstance(value, bytes) else value
