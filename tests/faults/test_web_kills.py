"""The web process is killed once at each of its failpoints."""

import pytest

from tests.faults.kills import AT_WEB, kill_at


@pytest.mark.parametrize("place", sorted(AT_WEB))
def test_a_killed_web_process_loses_and_duplicates_nothing(store, place):
    outcome = kill_at(store, place)

    assert outcome.findings == []
