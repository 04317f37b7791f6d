"""One order that kills whoever works on it, one that always fails, and fifty others."""

import asyncio
import time
from contextlib import AsyncExitStack

from tests.faults.store import all_accepted

INNOCENTS = 50
SUPERVISED_S = 60


def supervise(store, armed):
    """Start the workers again each time they die, until nothing is left but what is parked."""
    starts = 0
    ends = time.monotonic() + SUPERVISED_S
    while store.waiting():
        assert time.monotonic() < ends, store.rows("SELECT * FROM tasks")
        if not store.workers.running:
            store.workers.kill()
            store.pass_time(leases=True)
            store.workers.settings["BOOKSTORE_CRASHPOINT"] = armed
            store.workers.start()
            starts += 1
        store.pass_time()  # A failed attempt is repeated after a pause.
        time.sleep(0.5)
    return starts


async def test_two_bad_orders_are_parked_and_fifty_others_confirmed(store):
    async with AsyncExitStack() as stack:
        customers = await store.customers(stack, INNOCENTS + 2)
        store.workers.kill()
        await all_accepted(customers)
    ids = [row["id"] for row in store.rows("SELECT id FROM orders ORDER BY id")]
    killer, failing = ids[10], ids[30]

    starts = await asyncio.to_thread(supervise, store, f"P4:*:kill:{killer},P6:*:raise:{failing}")

    parked = store.rows("SELECT * FROM tasks ORDER BY ref_id")
    states = {row["id"]: row["status"] for row in store.rows("SELECT id, status FROM orders")}
    assert [row["ref_id"] for row in parked] == [killer, failing]
    assert all(row["parked_at"] for row in parked)
    assert "took its worker down" in parked[0]["error"]
    assert "Crash: P6" in parked[1]["error"]
    assert [order for order, status in states.items() if status != "confirmed"] == [killer, failing]
    assert starts <= 7

    # Staff have mended what was wrong, and replay them.
    for row in parked:
        assert store.web.run("tasks", "replay", str(row["id"])).returncode == 0
    store.workers.kill()
    store.start()
    await asyncio.to_thread(store.wait_until_idle)
    assert await store.findings() == []
