"""Runs jobs step by step: in an actor, or in a command that shows the progress."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore import correlation
from bookstore.database.documents import is_damaged
from bookstore.database.engine import is_unavailable, run_transaction, transaction
from bookstore.errors import BookstoreError
from bookstore.tasks import jobs, outbox
from bookstore.tasks.jobs import Job, JobKind
from bookstore.tasks.outbox import Task, TaskRef

log = logging.getLogger(__name__)

#: One run of a job ends after this long, so that a worker can do other work.  It is far below an
#: actor's time limit.
RUN_TIME_LIMIT_S = 20.0
#: What staff see on a job whose task is dead; the task has the details.
_JOB_DIED = "It failed several times because of an error on our side. It can be tried again."

ProgressCallback = Callable[[Job], Awaitable[None]]


class JobHandler(Protocol):
    """What does the work of one kind of job."""

    async def __call__(
        self, job: Job, /, *, time_limit_s: float, on_progress: ProgressCallback | None
    ) -> bool:
        """Continue a job for `time_limit_s` seconds; True when there is more to do.

        Progress is committed together with the work (`jobs.advance`), and so is the end
        (`jobs.finish`).  `on_progress` is awaited with the job after each commit.

        Raises:
            BookstoreError: the job as a whole is refused.
            JobConflict: it was cancelled, or another worker continued it.
        """


class JobRunner:
    """Runs jobs.  Safe to repeat, and safe for two workers at the same time.

    An attempt counts when it starts; progress resets the count.  A refusal ends the job as
    `failed`.  An unexpected error is retried, and after the last attempt the task is dead.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        handlers: Mapping[JobKind, JobHandler],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._handlers = handlers
        self._clock = clock

    async def run(self, job_id: int, *, on_progress: ProgressCallback | None = None) -> bool:
        """Work on a job for up to `RUN_TIME_LIMIT_S`; True when there is more to do.

        `on_progress` is awaited with the job after each commit.
        """
        starts = await run_transaction(self._engine, outbox.start_attempts, Task.RUN_JOBS, [job_id])
        if job_id not in starts:
            return False
        with correlation.bind_request_ids([starts[job_id].request_id]):
            return await self._run(job_id, starts[job_id].number, on_progress)

    async def _run(self, job_id: int, attempt: int, on_progress: ProgressCallback | None) -> bool:
        if attempt > outbox.MAX_ATTEMPTS:
            await self._fail(job_id, "The worker process died during every attempt.")
            return False
        job = await run_transaction(self._engine, jobs.begin, job_id, now=self._clock())
        if job is None:
            return False
        began = time.monotonic()
        if is_damaged(job.options):
            await self._refuse(job, "The stored options of this job are damaged. Start it again.")
            return False
        try:
            more = await self._handlers[job.kind](
                job, time_limit_s=RUN_TIME_LIMIT_S, on_progress=on_progress
            )
        except jobs.JobConflict:
            return False
        except BookstoreError as error:
            await self._refuse(job, str(error))
            return False
        except Exception as error:
            if is_unavailable(error):
                await self._uncount_attempt(job_id)
                raise
            log.exception("job %d failed", job_id)
            return await self._fail(job_id, f"{type(error).__name__}: {error}")
        seconds = round(time.monotonic() - began, 3)
        log.info("worked on job %d", job_id, extra={"task": Task.RUN_JOBS, "seconds": seconds})
        announce = self._engine.get_execution_options().get("announce")
        if more and announce:
            announce([TaskRef(Task.RUN_JOBS, job_id)])
        return more

    async def _refuse(self, job: Job, error: str) -> None:
        try:
            await run_transaction(self._engine, jobs.finish, job, error=error, now=self._clock())
        except jobs.JobConflict:
            log.debug("job %d was cancelled", job.id)

    async def _fail(self, job_id: int, error: str) -> bool:
        """Record an unexpected error; True when the job is retried."""
        async with transaction(self._engine) as conn:
            dead = await outbox.fail(conn, Task.RUN_JOBS, job_id, error, now=self._clock())
            if dead:
                await jobs.mark_failed(conn, job_id, _JOB_DIED, now=self._clock())
        if dead:
            log.error("dead: %s(%d)", Task.RUN_JOBS, job_id)
        return not dead

    async def _uncount_attempt(self, job_id: int) -> None:
        try:
            async with transaction(self._engine) as conn:
                await outbox.uncount_attempts(conn, Task.RUN_JOBS, [job_id])
        except Exception as error:
            # The attempt stays counted, so that staff notice a database that fails five times in a
            # row.
            log.warning("could not uncount the attempt at job %d: %s", job_id, type(error).__name__)
