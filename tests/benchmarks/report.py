"""The output of the benchmarks."""

import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from tests.benchmarks.drain import Drain
from tests.benchmarks.site import Site

PACKAGES = ("aiohttp", "aiomysql", "PyMySQL", "SQLAlchemy", "dramatiq", "pika", "aio-pika")
SETTINGS = (
    "version",
    "innodb_flush_log_at_trx_commit",
    "innodb_doublewrite",
    "innodb_buffer_pool_size",
    "log_bin",
)


def versions(site: Site) -> None:
    """Print the versions and the machine."""
    found = site.ask("SELECT " + ", ".join(f"@@{name}" for name in SETTINGS))[0]
    broker = site.rabbitmq.client.ask("GET", "overview")
    print(f"Python {platform.python_version()}, {platform.platform()}")
    print(", ".join(f"{package} {version(package)}" for package in PACKAGES))
    print(", ".join(f"{name} {value}" for name, value in zip(SETTINGS, found, strict=True)))
    print(f"RabbitMQ {broker['rabbitmq_version']}, classic queues, persistent, with confirms")


def progress(title: str, name: str, per_second: float) -> None:
    """Print that a run is finished; runs take minutes."""
    print(f"  {title.partition(':')[0]}, {name}: {per_second:,.0f}/s", file=sys.stderr, flush=True)


def middle(values: Sequence[float]) -> str:
    """The median and, in brackets, minimum and maximum."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def ratio(ours: Sequence[float], limit: Sequence[float]) -> str:
    """Our rate relative to the limit: the ratio of the medians, and of the rounds."""
    rounds = [mine / its for mine, its in zip(ours, limit, strict=True)]
    whole = statistics.median(ours) / statistics.median(limit)
    return f"{whole:.2f} ({min(rounds):.2f}-{max(rounds):.2f})"


def drains(title: str, runs: Mapping[str, Sequence[Drain]], limit: str) -> None:
    """Print a table of drains: rate, ratio to the limit, and CPU time by program."""
    print(f"\n{title}")
    print(f"{'':24}{'orders/s':>24}{'of limit':>20}  CPU us per order")
    its = [drain.per_second for drain in runs[limit]]
    for name, found in runs.items():
        rates = [drain.per_second for drain in found]
        spent = {
            program: statistics.median(drain.cpu_us[program] for drain in found)
            for program in found[0].cpu_us
        }
        cpu = ", ".join(f"{program} {us:,.0f}" for program, us in spent.items())
        line = f"{name:24}{middle(rates):>24}{ratio(rates, its):>20}  {cpu}"
        if found[0].group_length > 1:
            lists = statistics.median(drain.list_length for drain in found)
            groups = statistics.median(drain.group_length for drain in found)
            line += f"; {lists:.1f} ids a message, {groups:.1f} orders a transaction"
        print(line, flush=True)
    for name in {"ordinary", "procedure"} & runs.keys() - {limit}:
        times = ratio(
            [drain.per_second for drain in runs["ours"]],
            [drain.per_second for drain in runs[name]],
        )
        print(f"ours is {times} x the {name} form", flush=True)
