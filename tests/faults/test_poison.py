"""One order that kills whoever works on it, one that always fails, and fifty others."""

import asyncio
from contextlib import AsyncExitStack

from tests.faults.store import all_accepted

INNOCENTS = 50
#: Placed while the bad ones do their harm.
MEANWHILE, EVERY_S = 15, 1.0
SUPERVISED_S = 60
#: Time enough for a supervisor to start a worker again, once or twice.
DELAY_MS = 10_000
WAITED_MS = "SELECT MAX(waited_ms) FROM order_events WHERE order_id > %s AND kind = 'confirmed'"


async def supervise(store, armed, ends):
    """Start the workers again each time they die, until nothing is left but what is parked."""
    starts = 0
    while not ends.is_set() or store.waiting():
        if not store.workers.running:
            store.workers.kill()
            store.pass_time(leases=True)
            store.workers.settings["BOOKSTORE_CRASHPOINT"] = armed
            store.workers.start()
            starts += 1
        store.pass_time()  # A failed attempt is repeated after a pause.
        await asyncio.sleep(0.5)
    return starts


async def order_one_after_the_other(customers):
    for customer in customers:
        assert await customer.ask_for_order() == 202
        await asyncio.sleep(EVERY_S)


async def test_two_bad_orders_are_parked_and_fifty_others_confirmed(store, record_property):
    async with AsyncExitStack() as stack:
        customers = await store.customers(stack, INNOCENTS + 2 + MEANWHILE)
        listed, later = customers[: INNOCENTS + 2], customers[INNOCENTS + 2 :]
        store.workers.kill()
        store.forget_messages()
        await all_accepted(listed)
        ids = [row["id"] for row in store.rows("SELECT id FROM orders ORDER BY id")]
        killer, failing = ids[10], ids[30]
        # One list of all of them, as a relay makes it; what was published singly is lost.
        store.forget_messages()
        store.pass_time()

        async with asyncio.timeout(SUPERVISED_S):
            ends = asyncio.Event()
            armed = f"P4:*:kill:{killer},P6:*:raise:{failing}"
            supervising = asyncio.create_task(supervise(store, armed, ends))
            await order_one_after_the_other(later)
            ends.set()
            starts = await supervising

    parked = store.rows("SELECT * FROM tasks ORDER BY ref_id")
    states = {row["id"]: row["status"] for row in store.rows("SELECT id, status FROM orders")}
    waited_ms = store.value(WAITED_MS, max(ids))
    record_property("starts of the worker", starts)
    record_property("longest wait of another order, ms", waited_ms)
    assert [row["ref_id"] for row in parked] == [killer, failing]
    assert all(row["parked_at"] for row in parked)
    assert "took its worker down" in parked[0]["error"]
    assert "Crash: P6" in parked[1]["error"]
    assert [order for order, status in states.items() if status != "confirmed"] == [killer, failing]
    assert len(states) == len(customers)
    assert starts <= 7
    assert waited_ms < DELAY_MS

    # Staff have mended what was wrong, and replay them.
    for row in parked:
        assert store.web.run("tasks", "replay", str(row["id"])).returncode == 0
    store.workers.kill()
    store.start()
    await asyncio.to_thread(store.wait_until_idle)
    assert await store.findings() == []
