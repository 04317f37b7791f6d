"""A backlog of placed orders is processed: in batches, all for one book, one order per message."""

from collections.abc import Callable, Mapping

from tests.benchmarks import drain, report
from tests.benchmarks.drain import Drain
from tests.benchmarks.site import BOOKS, Site

ORDERS = 8_000
#: Chosen so that our workers and the limits run equally long, for several seconds.
ORDERS_FOR_ONE_BOOK = 24_000
#: Slow variants get fewer orders, so that all rounds take about the same time.
FEWER = 2_000
LINES = 3
#: The number of dramatiq threads that was fastest for messages with one order.
THREADS_FOR_SINGLES = 64


def backlog(site: Site, rounds: int) -> None:
    """Orders of three lines. Goal: at least 1.0 x the procedure and 8 x the plain actor."""
    _compare(
        f"backlog: {ORDERS:,} orders of {LINES} lines from {BOOKS:,} books",
        {
            "procedure": lambda: drain.by_procedure(site, ORDERS, LINES, books=BOOKS),
            "ours": lambda: drain.ours(site, ORDERS, LINES, books=BOOKS),
            "ordinary": lambda: drain.plainly(site, FEWER, LINES, books=BOOKS),
        },
        limit="procedure",
        rounds=rounds,
    )


def hot_book(site: Site, rounds: int) -> None:
    """All orders are for one book. Goal: at least 5 x the single-row client.

    The same statements as a stored procedure are shown, too. An application cannot reach them:
    the procedure holds the row lock only during the round trip of COMMIT.
    """
    _compare(
        f"hot book: {ORDERS_FOR_ONE_BOOK:,} orders of one line for the same book",
        {
            "single row": lambda: drain.by_single_rows(site, FEWER, 1, books=1),
            "procedure": lambda: drain.by_procedure(
                site, ORDERS // 2, 1, books=1, stock_first=True
            ),
            "procedure, stock last": lambda: drain.by_procedure(site, ORDERS // 2, 1, books=1),
            "ours": lambda: drain.ours(site, ORDERS_FOR_ONE_BOOK, 1, books=1),
        },
        limit="single row",
        rounds=rounds,
    )


def singles(site: Site, rounds: int) -> None:
    """The same orders, one per message."""
    _compare(
        f"singles: {ORDERS:,} orders of {LINES} lines, one id a message",
        {
            "procedure": lambda: drain.by_procedure(site, ORDERS, LINES, books=BOOKS),
            "ours, 8 threads": lambda: drain.ours(site, ORDERS, LINES, books=BOOKS, singly=True),
            f"ours, {THREADS_FOR_SINGLES} threads": lambda: drain.ours(
                site, ORDERS, LINES, books=BOOKS, singly=True, threads=THREADS_FOR_SINGLES
            ),
        },
        limit="procedure",
        rounds=rounds,
    )


def _compare(
    title: str, forms: Mapping[str, Callable[[], Drain]], *, limit: str, rounds: int
) -> None:
    runs: dict[str, list[Drain]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, work in forms.items():
            runs[name].append(work())
            report.progress(title, name, runs[name][-1].per_second)
    report.drains(title, runs, limit)
