"""An import that is killed and goes on leaves what one leaves that ran through."""

import asyncio

import pytest

from tests.faults import import_kills
from tests.faults.embedded import EmbeddedStore
from tests.faults.import_kills import Victim

#: Programs are started several times; on a busy machine that takes its time.
pytestmark = pytest.mark.timeout(400)
#: Eight batches.
CONTENT = import_kills.catalogue(1500)


@pytest.fixture(scope="module")
def wanted():
    return asyncio.run(import_kills.run_through(CONTENT))


def test_in_one_process(tmp_path, wanted):
    with EmbeddedStore(tmp_path) as store:
        accepted = asyncio.run(import_kills.killed(Victim.embedded(store), CONTENT, kills=2))

        assert import_kills.left(store.rows) == wanted
        assert accepted


def test_scaled_out(store, wanted):
    accepted = asyncio.run(import_kills.killed(Victim.scaled_out(store), CONTENT, kills=2))

    assert import_kills.left(store.rows) == wanted
    assert accepted
    assert asyncio.run(store.findings()) == []
