"""From the request of a customer to the confirmed order, with all programs running."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from tests.benchmarks import drain, report
from tests.benchmarks.clients import Plan, Seen
from tests.benchmarks.cpu import Meter, session_of
from tests.benchmarks.drain import Drain
from tests.benchmarks.sink import Sink
from tests.benchmarks.site import BOOKS, Site
from tests.e2e.programs import ROOT, EmailWorkers, OrderWorkers, Web
from tests.servers.process import wait_until

SECONDS = 30
LINES = 3
#: Orders per second that leave the machine mostly idle.
AT_REST = 5
#: Orders for the limit in the same run.
ORDERS = 10_000
#: More carts than are ordered in the time.
CARTS = 40_000
WARM_S = 3
#: Timeout for the remaining e-mails afterwards.
EMAILS_S = 1200
#: The e-mail workers; they run beside the order workers.
EMAILS = "emails"


@dataclass(frozen=True, slots=True)
class Form:
    """How customers behave: with filled carts or not, and at which rate."""

    full_carts: bool
    customers: int = 32
    #: Orders per second; None: as fast as possible.
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The results of one run."""

    accepted_per_second: float
    confirmed_per_second: float
    #: Pending orders after each third of the time.
    waiting: Sequence[int]
    #: Pending orders and e-mails after each third.
    unfinished: Sequence[int]
    #: Milliseconds.
    change_ms: Sequence[float]
    accept_ms: Sequence[float]
    confirm_ms: Sequence[float]
    list_length: float
    together: float
    group_length: float
    cpu_us: Mapping[str, float]
    #: Seconds from the last order to the last e-mail; orders in the whole time, and what
    #: their e-mails cost.
    emails_s: float
    finished_per_second: float
    emails_us: float
    failures: Mapping[str, int]


def http(site: Site, rounds: int) -> None:
    """32 customers as fast as possible, and a low rate; the limit is the stored procedure.

    Goals: at least 0.2 x the limit; at the low rate, accepted within 15 ms and confirmed within
    25 ms more.
    """
    forms = {
        "fill a cart and order": Form(full_carts=False),
        "order a full cart": Form(full_carts=True),
        f"{AT_REST} orders/s": Form(full_carts=False, customers=AT_REST, rate=AT_REST),
    }
    limits: list[Drain] = []
    runs: dict[str, list[Run]] = {name: [] for name in forms}
    for _ in range(rounds):
        limits.append(drain.by_procedure(site, ORDERS, LINES, books=BOOKS))
        for name, form in forms.items():
            runs[name].append(over_http(site, form))
            report.progress("http", name, runs[name][-1].confirmed_per_second)
    limit = [found.per_second for found in limits]
    print(f"\nhttp: carts of {LINES} books, {SECONDS} s each; procedure {report.middle(limit)}/s")
    for name, found in runs.items():
        accepted = report.middle([run.accepted_per_second for run in found])
        confirmed = [run.confirmed_per_second for run in found]
        print(f"{name}: accepted {accepted}/s, confirmed {report.middle(confirmed)}/s,")
        print(f"  {report.ratio(confirmed, limit)} of limit")
        for run in found:
            _print(run)


def over_http(site: Site, form: Form, *, seconds: float = SECONDS) -> Run:
    """Run customers against the programs in their deployed form."""
    site.clear()
    if form.full_carts:
        site.open_sessions(site.fill_carts(CARTS, LINES))
    book_ids = [book_id for (book_id,) in site.ask("SELECT id FROM books ORDER BY id")]
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        settings = {**site.settings, "BOOKSTORE_SMTP_URL": sink.url}
        orders = stack.enter_context(OrderWorkers(settings))
        emails = stack.enter_context(EmailWorkers(settings))
        web = stack.enter_context(Web(settings))
        sessions = {
            **site.sessions,
            "web": session_of(web),
            "workers": session_of(orders),
            EMAILS: session_of(emails),
            "sink": session_of(sink),
        }
        _customers(Plan(web.port, book_ids, seconds=WARM_S)).communicate()
        warm = _last_order(site)
        plan = Plan(
            web.port,
            book_ids,
            seconds,
            customers=form.customers,
            rate=form.rate,
            sessions=CARTS if form.full_carts else None,
        )
        with Meter(sessions) as meter:
            customers = _customers(plan)
            left = [_left_after(site, seconds / 3) for _ in range(3)]
            seen = Seen(**json.loads(customers.communicate()[0]))
            nothing_waits = stack.enter_context(site.watch())
            wait_until(nothing_waits, 120)
            wait_until(lambda: not site.ask("SELECT 1 FROM tasks LIMIT 1"), EMAILS_S)
            over = time.time()
    asyncio.run(site.examine())
    return _run(site, seen, meter, left, warm, over)


def _run(
    site: Site,
    seen: Seen,
    meter: Meter,
    left: Sequence[tuple[int, int]],
    warm: int,
    over: float,
) -> Run:
    # The clock of the worker, just before it deducts the stock and commits.
    decided = {
        number: (float(at) + worked_ms / 1000, message, moment)
        for number, at, worked_ms, message, moment in site.ask(
            "SELECT o.number, UNIX_TIMESTAMP(e.at), e.worked_ms, e.message_id,"
            " CONCAT(e.worker, e.at) FROM orders AS o JOIN order_events AS e ON e.order_id = o.id"
            " WHERE e.worker IS NOT NULL AND o.id > %s",
            warm,
        )
    }
    ((shared,),) = site.ask("SELECT COUNT(DISTINCT placed_at) FROM orders WHERE id > %s", warm)
    orders = len(seen.orders)
    spent_s = seen.ended - seen.began
    in_time = sum(seen.began < moment <= seen.ended for moment, _, _ in decided.values())
    return Run(
        accepted_per_second=orders / spent_s,
        confirmed_per_second=in_time / spent_s,
        waiting=[orders_left for orders_left, _ in left],
        unfinished=[tasks_left for _, tasks_left in left],
        change_ms=[wait_s * 1000 for wait_s in seen.changes],
        accept_ms=[wait_s * 1000 for _, _, wait_s in seen.orders],
        confirm_ms=[(decided[number][0] - answered) * 1000 for number, answered, _ in seen.orders],
        list_length=len(decided) / len({message for _, message, _ in decided.values()}),
        together=orders / shared,
        group_length=len(decided) / len({moment for _, _, moment in decided.values()}),
        cpu_us={
            name: used_s / orders * 1e6
            for name, used_s in meter.used_s(seen.began, seen.ended).items()
        },
        emails_s=over - seen.ended,
        emails_us=meter.used_s(seen.began, over)[EMAILS] / orders * 1e6,
        finished_per_second=orders / (over - seen.began),
        failures=seen.failures,
    )


def _print(run: Run) -> None:
    for name, waits in (
        ("change of a cart", run.change_ms),
        ("accept", run.accept_ms),
        ("accept to confirmed", run.confirm_ms),
    ):
        if waits:
            p50, p95, p99 = ranks(waits)
            print(f"    {name}: p50 {p50:.1f} ms, p95 {p95:.1f}, p99 {p99:.1f}")
    print(
        f"    {run.together:.1f} checkouts a transaction, {run.list_length:.1f} ids a message,"
        f" {run.group_length:.1f} orders a transaction; undecided {list(run.waiting)},"
        f" unfinished {list(run.unfinished)}; failures {dict(run.failures)}"
    )
    print(
        f"    the last e-mail left {run.emails_s:.1f} s after the last order:"
        f" {run.finished_per_second:.0f} orders/s with all their e-mails,"
        f" which cost {run.emails_us:,.0f} us an order"
    )
    cpu = ", ".join(f"{program} {us:,.0f}" for program, us in run.cpu_us.items())
    whole = sum(run.cpu_us.values())
    most = max(run.cpu_us, key=run.cpu_us.__getitem__)
    print(
        f"    CPU us per order: {cpu}; {whole:,.0f} in all, {run.cpu_us[most] / whole:.0%} of it"
        f" {most}; {run.accepted_per_second * whole / 1e6:.1f} of {os.cpu_count()} processors",
        flush=True,
    )


def ranks(waits: Sequence[float]) -> tuple[float, float, float]:
    """p50, p95 and p99."""
    found = statistics.quantiles(waits, n=100)
    return found[49], found[94], found[98]


def _customers(plan: Plan) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.clients", json.dumps(asdict(plan))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _left_after(site: Site, seconds: float) -> tuple[int, int]:
    time.sleep(seconds)
    ((orders, tasks),) = site.ask(
        "SELECT COALESCE(SUM(task = 'process_orders'), 0), COUNT(*) FROM tasks"
    )
    return int(orders), int(tasks)


def _last_order(site: Site) -> int:
    ((last,),) = site.ask("SELECT COALESCE(MAX(id), 0) FROM orders")
    return int(last)
