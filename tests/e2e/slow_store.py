"""`bookstore` with an order service that is slow, so that it can be killed in the middle."""

import asyncio

from actors.batching import Batches
from bookstore.cli.main import main

_work_off = Batches.work_off


async def work_off(self, ref_ids, message_id):
    await asyncio.sleep(8)  # Before any transaction: SQLite has one writer at a time.
    await _work_off(self, ref_ids, message_id)


Batches.work_off = work_off

if __name__ == "__main__":
    main()
