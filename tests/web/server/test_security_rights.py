"""The store works with a database account with few grants (S-42 and S-45)."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pymysql
import pytest
from sqlalchemy import func, make_url, select

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import audit_log, stock_movements
from bookstore.errors import Invalid
from bookstore.operations import db_grants, housekeeping, startup_checks
from bookstore.users.permissions import Permission
from tests.servers.rights import prepare
from tests.web.story import ExampleRecorder, play_story
from web.api import routes
from web.api.operations import operation_of
from web.server.keys import ENGINE

#: MySQL error numbers for denied access, commands and columns (MySQL error reference).
DENIED = {1044, 1045, 1142, 1143, 1227}


@pytest.fixture(scope="module")
def narrow(mariadb):
    return prepare(mariadb, "test_grants")


@pytest.fixture
def database_url(narrow):
    return narrow


#: Operations without a row of their own in the audit log: stock movements are recorded in the
#: ledger, and an import adds a row for each changed book.
IN_THE_LEDGER, FOR_EACH_BOOK = "move_stock", "start_import"


class AuditCounter(ExampleRecorder):
    """Counts the audit log rows or stock movements that each change by staff adds."""

    def __init__(self, server):
        super().__init__(server)
        self.added = {}
        self._staff = {
            operation_of(route.handler).name
            for route in routes.OPERATIONS
            if isinstance(route.access, Permission) and route.method != "GET"
        } - {FOR_EACH_BOOK}

    async def call(self, name, client, **request):
        table = stock_movements if name == IN_THE_LEDGER else audit_log
        before = await self._count(table)
        content = await super().call(name, client, **request)
        if name in self._staff:
            self.added.setdefault(name, set()).add(await self._count(table) - before)
        return content

    async def _count(self, table):
        async with reading(self._server.app[ENGINE]) as conn:
            return await conn.scalar(select(func.count()).select_from(table))


async def test_s42_every_operation_works_and_each_change_by_staff_adds_one_row(server):
    counter = AuditCounter(server)

    await play_story(server, counter)

    assert counter.added == {name: {1} for name in counter._staff}
    async with reading(server.app[ENGINE]) as conn:
        rows = (await conn.execute(select(audit_log))).all()
    for row in rows:
        assert row.user_id is not None or row.object_type == "user", row
        for field, change in row.changes.items():
            # The audit log names changed personal data without its value.
            assert change is None or len(change) == 2, (row.action, field, change)
    async with transaction(server.app[ENGINE]) as conn:
        await housekeeping.run(conn, now=datetime.now(UTC))
    # Close the connections before the server closes.
    await server.app[ENGINE].dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET action = 'nothing'",
        "DELETE FROM audit_log",
        "TRUNCATE TABLE audit_log",
        "ALTER TABLE audit_log ADD COLUMN more INT",
        "DROP TABLE audit_log",
        "RENAME TABLE audit_log TO log",
        "CREATE TRIGGER t BEFORE INSERT ON audit_log FOR EACH ROW SET NEW.action = 'x'",
        "UPDATE stock_movements SET delta = 1",
        "DELETE FROM stock_movements",
        "UPDATE alembic_version SET version_num = '0001'",
        "CREATE TABLE more (id INT)",
        "ALTER TABLE users ADD COLUMN more INT",
        "DROP TABLE orders",
        "CREATE USER mallory",
        "GRANT ALL ON *.* TO CURRENT_USER",
        "SELECT * FROM mysql.user",
    ],
)
def test_s42_that_account_has_no_other_grants(narrow, statement):
    url = make_url(narrow)
    account = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
    with closing(pymysql.connect(**account, database=url.database)) as conn:
        cursor = conn.cursor()
        cursor.execute("SELECT COUNT(*) FROM audit_log")

        with pytest.raises(pymysql.Error) as refused:
            cursor.execute(statement)

    assert refused.value.args[0] in DENIED


async def test_s45_an_account_with_too_many_grants_causes_a_warning_in_production(
    settings, mariadb
):
    production = replace(settings, env="production", smtp_url="smtps://mail.example")
    wide = replace(production, database_url=mariadb.url("test_grants"))

    assert await startup_checks.check(production) == []
    [warning] = await startup_checks.check(wide)
    assert "audit log" in warning
    assert await startup_checks.check(replace(wide, env="development")) == []


@pytest.mark.parametrize("account", ["", "a b", "a'@'%", "a@", "a@b;", "a@b@c", "`"])
def test_an_invalid_account_name_is_rejected(account):
    with pytest.raises(Invalid):
        db_grants.grant_statements("bookstore", account)
