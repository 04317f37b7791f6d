"""Stores to break, one for each file of tests."""

import pytest

from tests.faults.store import ScaledOut


@pytest.fixture(scope="module")
def store(request, mariadb, rabbitmq, tmp_path_factory):
    """A store of real processes, at work, on the servers that all tests share."""
    name = request.module.__name__.rpartition(".")[2]
    with ScaledOut(mariadb, rabbitmq, tmp_path_factory.mktemp(name), name) as store:
        store.start()
        yield store
