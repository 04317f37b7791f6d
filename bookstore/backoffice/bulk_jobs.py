"""Bulk changes that are too large to be waited for: carried out and undone by the actors."""

import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore.backoffice import bulk_changes
from bookstore.backoffice.bulk_changes import BATCH, Outcome, Plan
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.tasks import jobs
from bookstore.tasks.job_runner import Watch
from bookstore.tasks.jobs import Job, Kind

KINDS = (Kind.CHANGE_MANY,)
#: So many of the latest jobs are looked through for one plan's.
_LOOKED_AT = 100


async def start(
    conn: AsyncConnection,
    plan: Plan,
    *,
    undo: bool = False,
    user_id: int,
    now: datetime,
    request_id: str | None = None,
) -> Job:
    """Have the actors carry a plan out, or undo it; the job that does so, if there is one."""
    running = await of(conn, plan.id)
    if running is not None and not running.ended:
        return running
    return await jobs.add(
        conn,
        Kind.CHANGE_MANY,
        user_id=user_id,
        options={"plan": plan.id, "undo": undo},
        now=now,
        request_id=request_id,
    )


async def of(conn: AsyncConnection, plan_id: int) -> Job | None:
    """The latest job that works on a plan."""
    found = await jobs.find(conn, KINDS, limit=_LOOKED_AT)
    return next((job for job in found.items if job.options["plan"] == plan_id), None)


class Changer:
    """Works on such jobs (see `runner.Work`), a batch in each transaction."""

    def __init__(self, engine: AsyncEngine, *, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    async def __call__(self, job: Job, /, *, slice_s: float, watch: Watch | None) -> bool:
        ends = time.monotonic() + slice_s
        plan_id, undo = int(job.options["plan"]), bool(job.options["undo"])
        step = bulk_changes.undo if undo else bulk_changes.carry_out
        async with reading(self._engine) as conn:
            plan = await bulk_changes.get(conn, plan_id)
        left_out = plan.number(Outcome.OVERTAKEN) if undo else 0
        total, current = len(plan.changes) - left_out, job
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
            if watch:
                await watch(current)
            if not more or time.monotonic() >= ends:
                return more
