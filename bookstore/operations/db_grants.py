"""What an account may do in the database: the store's own as little as it can work with.

Tables that are only ever added to are so for the program, too: whoever takes it over can
neither change nor remove what they hold.
"""

import re
from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import metadata
from bookstore.errors import Invalid

#: An account as MariaDB and MySQL name it; without a host it is one from everywhere.
_ACCOUNT = re.compile(r"([A-Za-z0-9_.-]{1,80})(?:@([A-Za-z0-9_.:%/-]{1,255}))?")
_ADDED_TO = {"audit_log", "stock_movements"}
_EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"

_MAY_CHANGE_THE_LOG = text(
    """
    SELECT COUNT(*) FROM (
        SELECT grantee, privilege_type FROM information_schema.user_privileges
        UNION ALL
        SELECT grantee, privilege_type FROM information_schema.schema_privileges
        WHERE DATABASE() LIKE table_schema
        UNION ALL
        SELECT grantee, privilege_type FROM information_schema.table_privileges
        WHERE table_schema = DATABASE() AND table_name = 'audit_log'
    ) AS held
    WHERE held.privilege_type IN ('UPDATE', 'DELETE', 'ALTER', 'DROP')
        AND held.grantee = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')
    """
)


def grants(database: str, account: str) -> list[str]:
    """The statements that give the store's account what it needs, and nothing beyond.

    They name every table, so they are run again after a release that brings new ones.

    Raises:
        Invalid: this cannot be the name of an account.
    """
    match = _ACCOUNT.fullmatch(account)
    if match is None:
        raise Invalid("account", f"{account!r} is no account: write NAME or NAME@HOST.")
    grantee = f"'{match[1]}'@'{match[2] or '%'}'"
    needed = {"alembic_version": "SELECT"}
    for table in sorted(metadata.tables):
        needed[table] = "SELECT, INSERT" if table in _ADDED_TO else _EVERYTHING
    return [
        f"GRANT {rights} ON `{database}`.`{table}` TO {grantee};"
        for table, rights in needed.items()
    ]


async def give(conn: AsyncConnection, statements: Iterable[str]) -> None:
    """Run what `grants` says; our own account must be allowed to pass its rights on."""
    for statement in statements:
        # The driver reads % as the place of a value, even where there is none.
        await conn.exec_driver_sql(statement.replace("%", "%%"))


async def may_change_the_log(conn: AsyncConnection) -> bool:
    """Whether the account that we use here could change or remove what the audit log holds."""
    return bool(await conn.scalar(_MAY_CHANGE_THE_LOG))
