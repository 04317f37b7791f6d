"""`bookstore` with slow order processing, so that it can be killed in the middle."""

import asyncio

from actors.batching import BatchProcessor
from bookstore.cli.main import main

_process = BatchProcessor.process


async def process(self, ref_ids, message_id):
    await asyncio.sleep(
        8
    )  # Sleeps before the transaction, because SQLite has one writer at a time.
    await _process(self, ref_ids, message_id)


BatchProcessor.process = process

if __name__ == "__main__":
    main()
