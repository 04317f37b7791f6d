"""A clock for time limits in tests that ignores time lost to other processes."""

import time
from pathlib import Path


def own_time_s(*pids: int) -> float:
    """Monotonic seconds minus the time that this thread and the given processes waited for a CPU.

    The time on the run queue is the second number of /proc/PID/schedstat, in ns
    (Documentation/scheduler/sched-stats of Linux), of the main thread of each process. Running
    and waiting for I/O count. The processes are assumed to run in turns: if two wait for a CPU at
    once, both waits are subtracted.
    """
    run_queue_ns = (
        int(Path("/proc", name, "schedstat").read_text().split()[1])
        for name in ("thread-self", *map(str, pids))
    )
    return time.monotonic() - sum(run_queue_ns) / 1e9
