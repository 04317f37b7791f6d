"""A store to break, one for each test file."""

import pytest

from tests.faults.store import ScaledOut


@pytest.fixture(scope="module")
def store(request, mariadb, rabbitmq, tmp_path_factory):
    """A running store of real processes, on the shared servers."""
    name = request.module.__name__.rpartition(".")[2]
    with ScaledOut(mariadb, rabbitmq, tmp_path_factory.mktemp(name), name) as store:
        store.start()
        yield store
