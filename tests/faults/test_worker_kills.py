"""A worker is killed once at each of its failpoints."""

import pytest

from bookstore.database.failpoints import NAMES
from tests.faults.kills import AT_WEB, kill_at


@pytest.mark.parametrize("place", sorted(NAMES - AT_WEB))
def test_a_killed_worker_loses_and_duplicates_nothing(store, place):
    outcome = kill_at(store, place)

    assert outcome.findings == []
