"""Results, line by line in a file, so that an interrupted run resumes where it stopped."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATH = ROOT / "build" / "faults.jsonl"


class Results:
    """Results by name; each line is written immediately."""

    def __init__(self, path: Path = PATH) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._commit = _commit()
        lines = path.read_text().splitlines() if path.exists() else []
        self.entries: dict[str, dict[str, Any]] = {
            entry["name"]: entry for entry in map(json.loads, lines)
        }

    def add(self, name: str, **facts: Any) -> None:
        self.entries[name] = {"name": name, "commit": self._commit, **facts}
        with self._path.open("a") as file:
            file.write(json.dumps(self.entries[name]) + "\n")


class Recorder:
    """A pytest plugin that skips recorded tests and records finished ones."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        done = [item for item in items if item.nodeid in self._results.entries]
        items[:] = [item for item in items if item.nodeid not in self._results.entries]
        config.hook.pytest_deselected(items=done)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A failed setup counts as a failure of the test; otherwise only the call counts.
        if report.when == "call" or (report.when == "setup" and not report.passed):
            self._results.add(
                report.nodeid,
                outcome=report.outcome,
                took_s=round(report.duration, 1),
                why=report.longreprtext[-2000:],
                figures=_figures(report.user_properties),
            )


def _figures(properties: Sequence[tuple[str, object]]) -> dict[str, object]:
    return dict(properties)


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()
