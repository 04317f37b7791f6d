"""Imports and exports are run."""

from dramatiq import Retry, actor

from actors.broker import MINUTE, SECOND, broker, workplace

#: When a job comes again that found this process at work on another.
BUSY_PAUSE = 5 * SECOND


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
        for job_id in job_ids:
            await workplace.jobs.run(job_id)
