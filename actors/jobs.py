"""The actor that runs jobs: imports, exports and bulk changes."""

import time

from dramatiq import Retry, actor

from actors.broker import MINUTE, RETRIES, SECOND, broker, workplace

#: The delay of a job when this process already runs another one.
BUSY_DELAY = 5 * SECOND
#: After this long no further job of a message is started; the relay republishes the others.
BATCH_DEADLINE_S = 300.0


@actor(broker=broker, queue_name="bulk", time_limit=10 * MINUTE, **RETRIES)
async def run_jobs(job_ids: list[int]) -> None:
    """Run each job for a limited time; the next message continues it.  Safe to repeat."""
    if workplace.job_threads.locked():
        raise Retry(delay=BUSY_DELAY)
    async with workplace.job_threads:
        ends = time.monotonic() + BATCH_DEADLINE_S
        for job_id in job_ids:
            if time.monotonic() < ends:
                await workplace.jobs.run(job_id)
