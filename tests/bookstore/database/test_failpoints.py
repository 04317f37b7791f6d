"""Failpoints: each is in the code exactly once, and off by default."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from bookstore.database import failpoints
from bookstore.database.failpoints import NAMES, failpoint
from config.settings import InvalidSettings, read_settings
from tests.faults import __main__ as long_tier
from tests.faults import test_web_kills, test_worker_kills

ROOT = Path(__file__).parents[3]
FOLDERS = ("bookstore", "actors", "web", "admin")
TRY = """
from bookstore.database.failpoints import Crash, failpoint
for number in range(1, 4):
    try:
        failpoint("W0", [number])
    except Crash:
        print("raised", end=" ")
    print(number, end=" ", flush=True)
"""


def names_in(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and (
            getattr(node.func, "id", "") == "failpoint"
            or getattr(node.func, "attr", "") == "with_failpoint"
        ):
            yield node.args[0].value


def run_with(setting):
    """What a program that reaches W0 three times prints, and its exit code."""
    completed = subprocess.run(
        [sys.executable, "-c", TRY],
        env={**os.environ, "PYTHONPATH": str(ROOT), "BOOKSTORE_FAILPOINT": setting},
        capture_output=True,
        text=True,
        check=False,
    )
    return completed.stdout.strip(), completed.returncode


def test_each_failpoint_is_in_the_code_once():
    files = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in FOLDERS)
    found = Counter(chain.from_iterable(map(names_in, files)))

    assert found == Counter(NAMES)
    assert len(NAMES) == 33


def test_each_failpoint_is_documented_and_used_by_both_tiers_of_kill_tests():
    described = re.findall(r"(?m)(?:^    |  )([WRPMCX][0-9])  ", failpoints.__doc__)
    short = {
        failpoint
        for test in (
            test_web_kills.test_a_killed_web_process_loses_and_duplicates_nothing,
            test_worker_kills.test_a_killed_worker_loses_and_duplicates_nothing,
        )
        for mark in test.pytestmark
        if mark.name == "parametrize"
        for failpoint in mark.args[1]
    }

    assert Counter(described) == Counter(NAMES)
    assert short == NAMES
    assert Counter(failpoint for _, failpoint, _ in long_tier.kills()) == dict.fromkeys(NAMES, 20)


def test_an_unarmed_failpoint_does_nothing():
    for name in NAMES:
        failpoint(name, [1])


@pytest.mark.parametrize(
    ("setting", "printed", "code"),
    [
        ("W0:2:kill", "1", -9),
        ("W0:2:raise", "1 raised 2 3", 0),
        ("W0:*:raise", "raised 1 raised 2 raised 3", 0),
        ("W0:1:raise:3", "1 2 raised 3", 0),
        ("P1:1:kill,W0:3:kill", "1 2", -9),
    ],
)
def test_an_armed_failpoint_acts_at_its_hit(setting, printed, code):
    assert run_with(setting) == (printed, code)


def test_an_unknown_failpoint_ends_the_program():
    assert run_with("Z9:1:kill") == ("", 1)


def test_production_refuses_to_start_with_an_armed_failpoint(monkeypatch, tmp_path):
    monkeypatch.setenv("BOOKSTORE_ENV", "production")
    monkeypatch.setenv("BOOKSTORE_FAILPOINT", "W0:1:kill")

    with pytest.raises(InvalidSettings) as caught:
        read_settings(tmp_path / "none")

    assert caught.value.problems["BOOKSTORE_FAILPOINT"] == ["This variable is for tests only."]
