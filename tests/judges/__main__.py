"""make judges: one line per checker and its findings; exit code 1 if there are any.

    python -m tests.judges [api | pages | NAME]...

The checkers are installed into build/judges from npm and PyPI, in the versions of package-lock.json
and requirements.txt.
"""

import sys
import time
from collections.abc import Callable

from tests.judges import api, pages, tools
from tests.judges.store import Judged

JUDGES: dict[str, dict[str, Callable[[Judged], str]]] = {"api": api.JUDGES, "pages": pages.JUDGES}


def main(wanted: list[str]) -> int:
    chosen = {
        name: judge
        for half, judges in JUDGES.items()
        for name, judge in judges.items()
        if not wanted or half in wanted or name in wanted
    }
    known = {*JUDGES, *(name for judges in JUDGES.values() for name in judges)}
    if unknown := set(wanted) - known:
        print(f"No such judge: {', '.join(sorted(unknown))}. There are {', '.join(sorted(known))}.")
        return 2
    tools.install()
    found = 0
    for name, judge in chosen.items():
        started = time.monotonic()
        with Judged() as store:
            store.furnish()
            findings = judge(store).strip()
            log = store.output()
        if "Traceback" in log:
            findings = f"{findings}\nthe store failed:\n{log}".strip()
        found += bool(findings)
        print(f"{name}: {'findings' if findings else '0 findings'}", end=" ")
        print(f"({time.monotonic() - started:.0f} s)", flush=True)
        if findings:
            print("\n".join(f"    {line}" for line in findings.splitlines()), flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
