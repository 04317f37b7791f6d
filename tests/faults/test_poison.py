"""One order that kills its worker, one that always fails, and fifty others."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from tests.faults.store import all_accepted
from tests.servers.process import wait_until

INNOCENTS = 50
#: Orders placed while the bad ones are retried.
MEANWHILE, EVERY_S = 15, 1.0
SUPERVISED_S = 100
#: Beside two starts of the workers.
DELAY_S = 5.0
DEAD = "SELECT COUNT(*) FROM tasks WHERE dead_at IS NOT NULL"
UNDECIDED = "SELECT COUNT(*) FROM orders WHERE id > %s AND status = 'placed'"
WAITED_MS = "SELECT MAX(waited_ms) FROM order_events WHERE order_id > %s AND kind = 'confirmed'"


async def supervise(store, armed, ends):
    """Restart the workers each time they die, until both bad orders are dead; returns when."""
    starts = []
    while not ends.is_set() or store.value(DEAD) < 2:
        if not store.workers.running:
            store.workers.kill()
            store.workers.settings["BOOKSTORE_FAILPOINT"] = armed
            starts.append(datetime.now(UTC))
            store.workers.start()
        if ends.is_set():
            store.pass_time()  # Skips the last pauses.
        await asyncio.sleep(0.5)
    return starts


def boots_s(starts, log):
    """The duration of each start of the workers, on this machine at that moment."""
    at_work = [
        datetime.fromisoformat(json.loads(line)["timestamp"])
        for line in log.splitlines()
        if "worker started: " in line
    ]
    return [min(it - start for it in at_work if it > start).total_seconds() for start in starts]


async def order_one_after_the_other(customers):
    for customer in customers:
        assert await customer.ask_for_order() == 202
        await asyncio.sleep(EVERY_S)


@pytest.mark.timeout(240)
async def test_two_bad_orders_are_dead_and_fifty_others_confirmed(store, record_property):
    async with AsyncExitStack() as stack:
        customers = await store.customers(stack, INNOCENTS + 2 + MEANWHILE)
        listed, later = customers[: INNOCENTS + 2], customers[INNOCENTS + 2 :]
        store.workers.kill()
        await all_accepted(listed)
        ids = [row["id"] for row in store.rows("SELECT id FROM orders ORDER BY id")]
        killer, failing = ids[10], ids[30]
        # One batch of all of them, as the relay publishes it; single messages are lost.
        store.forget_messages()
        store.pass_time()

        async with asyncio.timeout(SUPERVISED_S):
            ends = asyncio.Event()
            armed = f"P4:*:kill:{killer},P6:*:raise:{failing}"
            supervising = asyncio.create_task(supervise(store, armed, ends))
            await order_one_after_the_other(later)
            await asyncio.to_thread(
                wait_until, lambda: not store.value(UNDECIDED, max(ids)), SUPERVISED_S
            )
            ends.set()
            starts = await supervising
    store.workers.kill()
    store.pass_time(leases=True)  # E-mails that were being sent when the workers died.
    store.start()
    await asyncio.to_thread(store.wait_until_idle)

    dead = store.rows("SELECT * FROM tasks ORDER BY ref_id")
    states = {row["id"]: row["status"] for row in store.rows("SELECT id, status FROM orders")}
    waited_ms = store.value(WAITED_MS, max(ids))
    boots = sorted(boots_s(starts, store.workers.output()))
    record_property("seconds until a worker is at work", boots)
    record_property("longest wait of another order", waited_ms / 1000)
    assert [row["ref_id"] for row in dead] == [killer, failing]
    assert all(row["dead_at"] for row in dead)
    assert "worker process died" in dead[0]["error"]
    assert "Crash: P6" in dead[1]["error"]
    assert [order for order, status in states.items() if status != "confirmed"] == [killer, failing]
    assert len(states) == len(customers)
    assert len(starts) <= 7
    assert waited_ms / 1000 < sum(boots[-2:]) + DELAY_S

    # Staff have fixed the cause and replay them.
    for row in dead:
        assert store.web.run("tasks", "replay", str(row["id"])).returncode == 0
    await asyncio.to_thread(store.wait_until_idle)
    assert await store.findings() == []
