"""Each test runs with its guard and without it."""

import pytest

WITH, WITHOUT = True, False


@pytest.fixture
def database_url(mariadb, mariadb_database, pytestconfig):
    """MariaDB only: SQLite has one writer, which hides the effect of locks."""
    worker = getattr(pytestconfig, "workerinput", {}).get("workerid", "main")
    mariadb.empty(mariadb_database)
    return mariadb.url(f"test_{worker}")


@pytest.fixture(params=[WITH, WITHOUT], ids=["with", "without"])
def guarded(request):
    """Whether the guard is in place; the check must have the same result."""
    return request.param
