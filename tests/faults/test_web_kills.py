"""The web process is killed, once at each place it passes."""

import pytest

from tests.faults.kills import AT_WEB, kill_at


@pytest.mark.parametrize("place", sorted(AT_WEB))
def test_a_killed_web_process_loses_and_doubles_nothing(store, place):
    outcome = kill_at(store, place)

    assert outcome.findings == []
