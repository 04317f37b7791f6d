"""A clock for bounds: it stands still while other tests have the processors."""

import time
from pathlib import Path


def own_time_s(*pids: int) -> float:
    """Seconds on a clock of this thread, and of the first threads of these processes.

    It does not count for how long one of them was ready and had no processor (the second number
    of /proc/PID/schedstat, in ns; Documentation/scheduler/sched-stats of Linux).  Whatever they
    do or wait for counts.  They take turns: where two are kept waiting at once, both are left out.
    """
    kept_waiting_ns = (
        int(Path("/proc", name, "schedstat").read_text().split()[1])
        for name in ("thread-self", *map(str, pids))
    )
    return time.monotonic() - sum(kept_waiting_ns) / 1e9
