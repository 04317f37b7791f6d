"""`python -m tests.benchmarks [name...]`: all of them, or those that are named."""

import sys

from tests.benchmarks import backlog, over_http, report, requests
from tests.benchmarks.site import Site

ALL = {
    "backlog": backlog.backlog,
    "hot_book": backlog.hot_book,
    "singles": backlog.singles,
    "http": over_http.http,
    "web": requests.web,
}


def main(names: list[str]) -> None:
    unknown = set(names) - set(ALL)
    if unknown:
        raise SystemExit(f"no benchmark: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    with Site() as site:
        report.versions(site)
        for name in names or ALL:
            ALL[name](site)


if __name__ == "__main__":
    main(sys.argv[1:])
