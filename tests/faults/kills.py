"""One kill at one of the 33 failpoints with orders in flight, and the state afterwards."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bookstore.database.failpoints import NAMES
from bookstore.operations.doctor import Finding
from tests.e2e.programs import Program
from tests.faults.journal import Customer
from tests.faults.store import ScaledOut, all_accepted, ask_all
from tests.servers.process import wait_until

IN_FLIGHT = 10
#: Failpoints of the web process; the others are in the worker.
AT_WEB = {name for name in NAMES if name[0] in "WC"} | {"R3", "R4"}
#: Lets the first attempt fail, so that the failpoints of the retry are reached.
FAILING = "P6:*:raise,"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one kill."""

    orders: int
    findings: list[Finding] = field(default_factory=list)
    #: E-mails that arrived twice.
    copies: int = 0


def kill_at(store: ScaledOut, place: str, hit: int = 1) -> Outcome:
    """Ten orders in flight, a kill as `place` is passed for the `hit`-th time, and everybody
    asks again with the same key.  The store is left at rest, with all its programs running.
    """
    return asyncio.run(_kill_at(store, place, hit))


async def _kill_at(store: ScaledOut, place: str, hit: int) -> Outcome:
    emails = len(store.sink.emails)
    armed = f"{FAILING if place[0] == 'X' else ''}{place}:{hit}:kill"
    async with AsyncExitStack() as stack:
        if place[0] == "C":
            await _kill_cancelling(store, stack, armed)
        elif place in AT_WEB:
            await _kill_web(store, stack, armed)
        elif place[0] == "R":
            await _kill_relay(store, stack, armed)
        else:
            await _kill_worker(store, stack, armed)
    await asyncio.to_thread(store.wait_until_idle)
    arrived = store.sink.emails[emails:]
    copies = len(arrived) - len({email["Message-ID"] for email in arrived})
    return Outcome(IN_FLIGHT, await store.findings(), copies)


async def _kill_web(store: ScaledOut, stack: AsyncExitStack, armed: str) -> None:
    await _restart(store.web, armed)
    customers = await store.customers(stack, IN_FLIGHT)
    await ask_all(Customer.ask_for_order, customers)
    await _dies(store.web)
    store.start()
    await all_accepted(customers)
    store.pass_time()


async def _kill_cancelling(store: ScaledOut, stack: AsyncExitStack, armed: str) -> None:
    await _restart(store.web, armed)
    customers = await store.customers(stack, IN_FLIGHT)
    await all_accepted(customers)
    await asyncio.to_thread(store.wait_until_idle)
    await ask_all(Customer.ask_to_cancel, customers)
    await _dies(store.web)
    store.start()
    # 409: the first request, which got no answer, has cancelled the order already.
    assert {*await ask_all(Customer.ask_to_cancel, customers)} <= {200, 409}
    states = {order["status"] for order in await ask_all(Customer.order_now, customers)}
    assert states == {"cancelled"}
    store.pass_time()


async def _kill_worker(store: ScaledOut, stack: AsyncExitStack, armed: str) -> None:
    store.web.start()
    await _restart(store.workers, armed)
    await asyncio.to_thread(store.web.wait)
    customers = await store.customers(stack, IN_FLIGHT)
    await all_accepted(customers)
    await _dies(store.workers)
    store.pass_time(leases=True)
    store.start()


async def _kill_relay(store: ScaledOut, stack: AsyncExitStack, armed: str) -> None:
    store.start()
    customers = await store.customers(stack, IN_FLIGHT)
    store.workers.kill()
    await all_accepted(customers)
    await asyncio.sleep(0.2)  # Messages published meanwhile are lost as well.
    store.forget_messages()
    store.pass_time()
    store.workers.settings["BOOKSTORE_FAILPOINT"] = armed
    store.workers.start()
    await _dies(store.workers)
    store.pass_time(leases=True)
    store.start()


async def _restart(program: Program, armed: str) -> None:
    program.kill()
    program.settings["BOOKSTORE_FAILPOINT"] = armed
    program.start()
    await asyncio.to_thread(program.wait)


async def _dies(program: Program, timeout_s: float = 20) -> None:
    try:
        await asyncio.to_thread(wait_until, lambda: program.hurt, timeout_s)
    except TimeoutError:
        armed = program.settings["BOOKSTORE_FAILPOINT"]
        raise AssertionError(f"nobody passed {armed}\n{program.output()[-2000:]}") from None
    program.kill()  # Its child processes as well.
