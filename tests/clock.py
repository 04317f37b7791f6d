"""A clock for bounds: it stands still while other tests have the processors."""

import time
from pathlib import Path


def own_time_s(*pids: int) -> float:
    """Seconds by which this thread could go on, and the first threads of these processes.

    Less the time for which one of them was ready and had no processor (the second number of
    /proc/PID/schedstat, in ns; Documentation/scheduler/sched-stats of Linux).  They work in
    turn, or the clock is slow.
    """
    kept_waiting_ns = (
        int(Path("/proc", name, "schedstat").read_text().split()[1])
        for name in ("thread-self", *map(str, pids))
    )
    return time.monotonic() - sum(kept_waiting_ns) / 1e9
