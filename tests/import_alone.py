"""Import each module in a process in which nothing else of ours is loaded yet.

Reads `{"libraries": [...], "packages": {package: [module, ...]}}` from stdin and prints a line for
each module.  A start from nothing takes a second, so processes are forked: one has loaded the
libraries, one for each package has imported that too, as Python does before a module in it.
"""

import json
import os
import sys
import traceback
from importlib import import_module


def in_a_fork(module: str, others: list[str]) -> None:
    """Import a module, then each of the others after it alone, in processes of their own."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        import_module(module)
    except BaseException:
        traceback.print_exc(limit=-2)
        os._exit(1)
    print(f"{module} imported")
    for other in others:
        in_a_fork(other, [])
    sys.stdout.flush()
    os._exit(0)


asked = json.load(sys.stdin)
for library in asked["libraries"]:
    import_module(library)
for package, modules in asked["packages"].items():
    in_a_fork(package, modules)
