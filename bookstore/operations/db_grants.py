"""Database grants with the least privileges that the store's account needs.

The account has no UPDATE or DELETE on append-only tables, so an attacker who controls the program
can neither change nor delete their rows.
"""

import re
from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.tables import metadata
from bookstore.errors import Invalid

#: An account of MariaDB or MySQL; without a host, any host is allowed.
_ACCOUNT = re.compile(r"([A-Za-z0-9_.-]{1,80})(?:@([A-Za-z0-9_.:%/-]{1,255}))?")
_APPEND_ONLY = {"audit_log", "stock_movements"}
_FULL_ACCESS = "SELECT, INSERT, UPDATE, DELETE"

_CAN_MODIFY_AUDIT_LOG = text(
    """
    SELECT COUNT(*) FROM (
        SELECT grantee, privilege_type FROM information_schema.user_privileges
        UNION ALL
        SELECT grantee, privilege_type FROM information_schema.schema_privileges
        WHERE DATABASE() LIKE table_schema
        UNION ALL
        SELECT grantee, privilege_type FROM information_schema.table_privileges
        WHERE table_schema = DATABASE() AND table_name = 'audit_log'
    ) AS granted
    WHERE granted.privilege_type IN ('UPDATE', 'DELETE', 'ALTER', 'DROP')
        AND granted.grantee = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')
    """
)


def grant_statements(database: str, account: str) -> list[str]:
    """The statements that grant an account exactly the privileges that the store needs.

    They name every table, so run them again after an upgrade that adds tables.

    Raises:
        Invalid: `account` is not a valid name of an account.
    """
    match = _ACCOUNT.fullmatch(account)
    if match is None:
        raise Invalid("account", f"{account!r} is not an account: write NAME or NAME@HOST.")
    grantee = f"'{match[1]}'@'{match[2] or '%'}'"
    privileges = {"alembic_version": "SELECT"}
    for table in sorted(metadata.tables):
        privileges[table] = "SELECT, INSERT" if table in _APPEND_ONLY else _FULL_ACCESS
    return [
        f"GRANT {granted} ON `{database}`.`{table}` TO {grantee};"
        for table, granted in privileges.items()
    ]


async def execute_grants(conn: AsyncConnection, statements: Iterable[str]) -> None:
    """Run the grants.  The current account needs these privileges with GRANT OPTION."""
    for statement in statements:
        # The driver treats % as a parameter marker even in a statement without parameters.
        await conn.exec_driver_sql(statement.replace("%", "%%"))


async def can_modify_audit_log(conn: AsyncConnection) -> bool:
    """Whether the account of this connection may change or delete rows of the audit log."""
    return bool(await conn.scalar(_CAN_MODIFY_AUDIT_LOG))
