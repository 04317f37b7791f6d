"""S-42 and S-45: the store does with an account that may do little in the database."""

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
from tests.web.story import Teller, tell
from web.api import routes
from web.api.operations import operation_of
from web.server.keys import ENGINE

#: Not allowed to the account (MySQL reference, error messages): a command, a column, access.
DENIED = {1044, 1045, 1142, 1143, 1227}


@pytest.fixture(scope="module")
def narrow(mariadb):
    return prepare(mariadb, "test_rights")


@pytest.fixture
def database_url(narrow):
    return narrow


#: Recorded elsewhere: copies that move in the ledger, which is only added to; an import by each
#: of the books that it changes.
IN_THE_LEDGER, BY_ITS_BOOKS = "move_stock", "start_import"


class Watched(Teller):
    """Counts what each change by staff adds to its record."""

    def __init__(self, server):
        super().__init__(server)
        self.added = {}
        self._staff = {
            operation_of(route.handler).name
            for route in routes.OPERATIONS
            if isinstance(route.access, Permission) and route.method != "GET"
        } - {BY_ITS_BOOKS}

    async def play(self, name, client, **asked):
        record = stock_movements if name == IN_THE_LEDGER else audit_log
        before = await self._count(record)
        shown = await super().play(name, client, **asked)
        if name in self._staff:
            self.added.setdefault(name, set()).add(await self._count(record) - before)
        return shown

    async def _count(self, record):
        async with reading(self._server.app[ENGINE]) as conn:
            return await conn.scalar(select(func.count()).select_from(record))


async def test_s42_every_operation_works_so_and_each_change_by_staff_is_one_row(server):
    watched = Watched(server)

    await tell(server, watched)

    assert watched.added == {name: {1} for name in watched._staff}
    async with reading(server.app[ENGINE]) as conn:
        rows = (await conn.execute(select(audit_log))).all()
    for row in rows:
        assert row.user_id is not None or row.object_type == "user", row
        for field, change in row.changes.items():
            # Personal data is named, and not kept.
            assert change is None or len(change) == 2, (row.action, field, change)
    async with transaction(server.app[ENGINE]) as conn:
        await housekeeping.tidy(conn, now=datetime.now(UTC))
    # The story ends with the server's, which has closed its connections once.
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
def test_s42_that_account_can_do_nothing_beyond(narrow, statement):
    url = make_url(narrow)
    account = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
    with closing(pymysql.connect(**account, database=url.database)) as conn:
        cursor = conn.cursor()
        cursor.execute("SELECT COUNT(*) FROM audit_log")

        with pytest.raises(pymysql.Error) as refused:
            cursor.execute(statement)

    assert refused.value.args[0] in DENIED


async def test_s45_an_account_that_may_do_too_much_is_told_of_in_production(settings, mariadb):
    production = replace(settings, env="production", smtp_url="smtps://mail.example")
    wide = replace(production, database_url=mariadb.url("test_rights"))

    assert await startup_checks.examine(production) == []
    [warning] = await startup_checks.examine(wide)
    assert "audit log" in warning
    assert await startup_checks.examine(replace(wide, env="development")) == []


@pytest.mark.parametrize("account", ["", "a b", "a'@'%", "a@", "a@b;", "a@b@c", "`"])
def test_what_is_no_account_is_granted_nothing(account):
    with pytest.raises(Invalid):
        db_grants.grants("bookstore", account)
