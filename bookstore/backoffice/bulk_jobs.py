"""Large bulk changes, which the actors apply and undo in background jobs."""

import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore.backoffice import bulk_changes
from bookstore.backoffice.bulk_changes import BATCH, BulkOutcome, BulkPlan
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.tasks import jobs
from bookstore.tasks.job_runner import ProgressCallback
from bookstore.tasks.jobs import Job, JobKind

KINDS = (JobKind.CHANGE_MANY,)
#: A plan's job is searched among this many of the latest jobs.
_MAX_JOBS = 100


async def start(
    conn: AsyncConnection,
    plan: BulkPlan,
    *,
    undo: bool = False,
    user_id: int,
    now: datetime,
    request_id: str | None = None,
) -> Job:
    """Queue a job that applies a plan, or undoes it; returns the running job if there is one."""
    running = await latest_of_plan(conn, plan.id)
    if running is not None and not running.ended:
        return running
    return await jobs.add(
        conn,
        JobKind.CHANGE_MANY,
        user_id=user_id,
        options={"plan": plan.id, "undo": undo},
        now=now,
        request_id=request_id,
    )


async def latest_of_plan(conn: AsyncConnection, plan_id: int) -> Job | None:
    """The latest job for a plan; None if there is none among the latest `_MAX_JOBS`."""
    found = await jobs.find(conn, KINDS, limit=_MAX_JOBS)
    return next((job for job in found.items if job.options.get("plan") == plan_id), None)


class BulkChangeRunner:
    """Runs these jobs (see `job_runner`), one batch in each transaction."""

    def __init__(self, engine: AsyncEngine, *, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    async def __call__(
        self, job: Job, /, *, time_limit_s: float, on_progress: ProgressCallback | None
    ) -> bool:
        deadline = time.monotonic() + time_limit_s
        plan_id, undo = int(job.options["plan"]), bool(job.options["undo"])
        step = bulk_changes.undo if undo else bulk_changes.apply
        async with reading(self._engine) as conn:
            plan = await bulk_changes.get(conn, plan_id)
        skipped = plan.number(BulkOutcome.SKIPPED) if undo else 0
        total, current = len(plan.changes) - skipped, job
        user_id = job.user_id
        assert user_id is not None

        async def work() -> tuple[bool, Job]:
            now = self._clock()
            done = min(total, current.done + BATCH)
            async with transaction(self._engine) as conn:
                more = await step(conn, plan_id, user_id=user_id, now=now)
                if more:
                    return True, await jobs.advance(conn, current, done=done, total=total, now=now)
                return False, await jobs.finish(conn, current, done=total, total=total, now=now)

        while True:
            more, current = await retry_transaction(work)
            if on_progress:
                await on_progress(current)
            if not more or time.monotonic() >= deadline:
                return more
