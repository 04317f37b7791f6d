"""S-42 and S-45: the store does with an account that may do little in the database."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pymysql
import pytest
from sqlalchemy import make_url

from bookstore import precautions, rights, upkeep
from bookstore.db import transaction
from bookstore.errors import Invalid
from tests.servers.rights import prepare
from tests.web.story import tell
from web.keys import ENGINE

#: Not allowed to the account (MySQL reference, error messages): a command, a column, access.
DENIED = {1044, 1045, 1142, 1143, 1227}


@pytest.fixture(scope="module")
def narrow(mariadb):
    return prepare(mariadb, "test_rights")


@pytest.fixture
def database_url(narrow):
    return narrow


async def test_s42_the_store_does_with_an_account_that_cannot_change_the_audit_log(server):
    told = await tell(server)  # Every operation there is.

    async with transaction(server.app[ENGINE]) as conn:
        await upkeep.tidy(conn, now=datetime.now(UTC))
    assert len(told) > 80


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

    assert await precautions.examine(production) == []
    [warning] = await precautions.examine(wide)
    assert "audit log" in warning
    assert await precautions.examine(replace(wide, env="development")) == []


@pytest.mark.parametrize("account", ["", "a b", "a'@'%", "a@", "a@b;", "a@b@c", "`"])
def test_what_is_no_account_is_granted_nothing(account):
    with pytest.raises(Invalid):
        rights.grants("bookstore", account)
