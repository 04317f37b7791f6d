"""`python -m tests.benchmarks [--rounds N] [name...]`: run all benchmarks or the named ones.

`python -m tests.benchmarks scale [--keep FOLDER]` uses its own store and runs only by name.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from tests.benchmarks import (
    backlog,
    catalogues,
    over_http,
    pairs,
    processes,
    report,
    requests,
    scale,
    slow,
    stable,
)
from tests.benchmarks.site import Site

ALL = {
    "backlog": backlog.backlog,
    "hot_book": backlog.hot_book,
    "singles": backlog.singles,
    "http": over_http.http,
    "stable": stable.stable,
    "web": requests.web,
    "slow": slow.slow,
    "pairs": pairs.pairs,
    "workers": processes.workers,
    "webs": processes.webs,
    "imports": catalogues.imports,
}


def main(names: Sequence[str], rounds: int) -> None:
    """Run these benchmarks and print their results."""
    with Site() as site:
        report.versions(site)
        for name in names:
            ALL[name](site, rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["scale"]:
        sys.exit(scale.main(scale.arguments().parse_args(sys.argv[2:])))
    parser = ArgumentParser(description="Benchmarks, each with its limit.")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(ALL))
    parser.add_argument("--rounds", type=int, default=3, help="the median of the rounds is shown")
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(ALL):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    main(wanted.names or list(ALL), wanted.rounds)
