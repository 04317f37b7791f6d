"""Settings of the garbage collector for a long-running process.

Reference counting frees most objects of a request; only reference cycles need the collector.  By
default it runs after every 700 allocations and also scans everything that was loaded at the start,
which costs a web process 1/12 of its CPU time.
"""

import gc

#: Allocations between two collections; their memory is a few megabytes at most.
GC_THRESHOLD = 50_000


def freeze_startup_objects() -> None:
    """Exclude all existing objects from collection.  Call this when all modules are loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
