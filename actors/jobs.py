"""Imports and exports are run."""

import time

from dramatiq import Retry, actor

from actors.broker import MINUTE, SECOND, broker, workplace

#: When a job comes again that found this process at work on another.
BUSY_PAUSE = 5 * SECOND
#: After that no job of a list is begun: the relay offers again what is left of it.
LIST_S = 300.0


@actor(
    broker=broker,
    queue_name="bulk",
    max_retries=None,
    min_backoff=1 * SECOND,
    max_backoff=1 * MINUTE,
    time_limit=10 * MINUTE,
)
async def run_jobs(job_ids: list[int]) -> None:
    """Go on with jobs for a slice each; the next message goes on from there.  Safe to repeat."""
    if workplace.job_threads.locked():
        raise Retry(delay=BUSY_PAUSE)
    async with workplace.job_threads:
        ends = time.monotonic() + LIST_S
        for job_id in job_ids:
            if time.monotonic() < ends:
                await workplace.jobs.run(job_id)
