"""An import that is killed and resumed has the same result as an uninterrupted one."""

import asyncio

import pytest

from tests.catalogues import catalogue
from tests.faults import import_kills
from tests.faults.embedded import EmbeddedStore
from tests.faults.import_kills import Victim

#: Programs are started several times, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(400)
#: Eight batches.
CONTENT = catalogue(1500)


@pytest.fixture(scope="module")
def wanted():
    return asyncio.run(import_kills.run_through(CONTENT))


async def outcome(victim):
    """The number of orders accepted meanwhile, the result of the import, violated invariants."""
    accepted = await import_kills.killed(victim, CONTENT, kills=2)
    left = import_kills.left(victim.store.rows)
    await import_kills.send_again(victim)
    return accepted, left, await victim.store.findings()


def test_in_one_process(tmp_path, wanted):
    with EmbeddedStore(tmp_path) as store:
        accepted, left, findings = asyncio.run(outcome(Victim.embedded(store)))

    assert accepted
    assert left == wanted
    assert findings == []


def test_scaled_out(store, wanted):
    accepted, left, findings = asyncio.run(outcome(Victim.scaled_out(store)))

    assert accepted
    assert left == wanted
    assert findings == []
