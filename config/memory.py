"""The garbage collector, set for a process that serves for weeks.

Most of what a request makes goes with its last reference; only cycles wait for the collector.  As
set by default it looks for them after every 700 objects, and among all that was loaded at the
start, too: that costs a web process a twelfth of its time.
"""

import gc

#: Objects; some megabytes at most.
AFTER = 50_000


def settle() -> None:
    """Call when everything is loaded: it stays, and is not looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(AFTER)
