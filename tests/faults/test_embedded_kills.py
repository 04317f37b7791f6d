"""The embedded store is killed at eight failpoints."""

import pytest

from tests.faults.embedded import EmbeddedStore
from tests.faults.figures import figure


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with EmbeddedStore(tmp_path_factory.mktemp("embedded")) as store:
        yield store


@pytest.mark.parametrize("number", range(figure(1, 20)))
@pytest.mark.parametrize("place", ["W3", "W5", "P2", "P5", "P7", "M1", "M6", "C3"])
def test_a_killed_store_loses_and_duplicates_nothing(store, place, number):
    assert store.kill_at(place) == []
