"""CPU time of programs with all their processes, read from /proc while they run."""

import os
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.servers.process import Server

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
#: The kernel counts in hundredths of a second, and a reading takes some milliseconds.
EVERY_S = 0.2


def session_of(server: Server) -> int:
    """The process session of a server; each server is started in its own."""
    return server.pid


def cpu_s(session: int) -> float:
    """The CPU seconds of the processes of a session so far, including ended ones."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name in parentheses may contain spaces, so fields are counted after it.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # The process has just ended.
            continue
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks * TICK_S


class Meter:
    """Samples the CPU time of programs while the block runs."""

    def __init__(self, sessions: Mapping[str, int]) -> None:
        self._sessions = sessions
        self._times: list[float] = []
        self._used: dict[str, list[float]] = {name: [] for name in sessions}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def used_s(self, begin: float, end: float) -> dict[str, float]:
        """CPU seconds of each program between two times (`time.time()`)."""
        return {name: self._at(name, end) - self._at(name, begin) for name in self._sessions}

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._look()

    def _look(self) -> None:
        self._times.append(time.time())
        for name, session in self._sessions.items():
            self._used[name].append(cpu_s(session))

    def _at(self, name: str, moment: float) -> float:
        times, used = self._times, self._used[name]
        after = min(max(bisect_left(times, moment), 1), len(times) - 1)
        before = after - 1
        share = (moment - times[before]) / (times[after] - times[before])
        return used[before] + min(max(share, 0.0), 1.0) * (used[after] - used[before])
