"""The highest sustainable load: no backlog grows."""

import sys

from tests.benchmarks.over_http import SECONDS, Form, Run, over_http, ranks
from tests.benchmarks.site import Site

#: Steps of the binary search.
STEPS = 6
#: Customers arrive at fixed times, so slow responses do not reduce the load.
CUSTOMERS = 128
#: A load is sustainable if this fraction of orders is accepted and the backlog grows by less.
KEPT, GROWTH = 0.97, 0.05


def stable(site: Site, rounds: int) -> None:
    """The highest rate at which no backlog of orders or e-mails grows. Goal: an order is accepted
    within 250 ms (p99) at this rate."""
    flat_out = over_http(site, Form(full_carts=False)).accepted_per_second
    low, high = 0.0, 1.1 * flat_out
    found: list[tuple[float, Run]] = []
    print(f"\nhighest stable load: {SECONDS} s each; 32 customers flat out: {flat_out:.0f}/s")
    for _ in range(STEPS):
        rate = (low + high) / 2
        run = over_http(site, Form(full_carts=False, customers=CUSTOMERS, rate=rate))
        if borne(run, rate):
            low = rate
            found.append((rate, run))
        else:
            high = rate
        p50, p95, p99 = ranks(run.accept_ms)
        print(
            f"  {rate:6.1f}/s: {'borne' if borne(run, rate) else 'too much'}; accepted"
            f" {run.accepted_per_second:.1f}/s, undecided {list(run.waiting)}, unfinished"
            f" {list(run.unfinished)}; accept p50 {p50:.1f} ms, p95 {p95:.1f}, p99 {p99:.1f}",
            flush=True,
        )
    if not found:
        sys.exit("no load was borne")
    rate, run = found[-1]
    print(f"{rate:.1f} orders/s are borne, accept p99 {ranks(run.accept_ms)[2]:.1f} ms", flush=True)


def borne(run: Run, rate: float) -> bool:
    """Whether the store kept up: after the first third, the backlog hardly grows."""
    grown = max(
        run.waiting[-1] - run.waiting[0],
        (run.unfinished[-1] - run.unfinished[0]) / 2,  # An order has two e-mails.
    )
    came = rate * SECONDS * 2 / 3
    return run.accepted_per_second >= KEPT * rate and grown <= GROWTH * came
