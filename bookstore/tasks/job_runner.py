"""Works jobs off, slice by slice: in an actor, or on the command line while somebody watches."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore import correlation
from bookstore.database.engine import is_away, retry_transaction, transaction
from bookstore.errors import BookstoreError
from bookstore.tasks import jobs, outbox
from bookstore.tasks.jobs import Job, Kind
from bookstore.tasks.outbox import Offer, Start, Task

log = logging.getLogger(__name__)

#: A worker goes on with something else after so long; far below an actor's time limit.
SLICE_S = 20.0
#: What staff read of a job that was given up; the task has the rest.
_GIVEN_UP = "Something went wrong on our side, several times. It can be tried again."

Watch = Callable[[Job], Awaitable[None]]


class Work(Protocol):
    """What is done about a kind of job."""

    async def __call__(self, job: Job, /, *, slice_s: float, watch: Watch | None) -> bool:
        """Go on with a job for so long; True when there is more to do.

        Progress is committed with the work itself (`jobs.advance`), the end too (`jobs.finish`).

        Raises:
            BookstoreError: the job as a whole is refused.
            Ended: it was cancelled, or somebody else works on it.
        """


class Runner:
    """Runs jobs; safe to be asked twice, and at the same time by two workers.

    Attempts are counted at the start, and anew once a job makes progress.  A refusal ends the
    job as `failed`; a fault of ours is tried again, and dead after the last attempt.
    """

    def __init__(
        self, engine: AsyncEngine, works: Mapping[Kind, Work], *, clock: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._works = works
        self._clock = clock

    async def run(self, job_id: int, *, watch: Watch | None = None) -> bool:
        """Work on a job for a slice; True when there is more to do.

        `watch` is awaited with the job as it is after each commit.
        """

        async def count() -> dict[int, Start]:
            async with transaction(self._engine) as conn:
                return await outbox.start(conn, Task.RUN_JOBS, [job_id])

        start = (await retry_transaction(count)).get(job_id)
        if start is None:
            return False
        with correlation.caused_by([start.request_id]):
            return await self._run(job_id, start.number, watch)

    async def _run(self, job_id: int, attempt: int, watch: Watch | None) -> bool:
        job = await self._begin(job_id, attempt)
        if job is None:
            return False
        begun = time.monotonic()
        try:
            more = await self._works[job.kind](job, slice_s=SLICE_S, watch=watch)
        except jobs.Ended:
            return False
        except BookstoreError as error:
            await self._refuse(job, str(error))
            return False
        except Exception as error:
            if is_away(error):
                await self._take_back(job_id)
                raise
            log.exception("job %d failed", job_id)
            return await self._fail(job_id, f"{type(error).__name__}: {error}")
        seconds = round(time.monotonic() - begun, 3)
        log.info("worked on job %d", job_id, extra={"task": Task.RUN_JOBS, "seconds": seconds})
        announce = self._engine.get_execution_options().get("announce")
        if more and announce:
            announce([Offer(Task.RUN_JOBS, job_id)])
        return more

    async def _begin(self, job_id: int, attempt: int) -> Job | None:
        async def work() -> Job | None:
            async with transaction(self._engine) as conn:
                return await jobs.begin(conn, job_id, now=self._clock())

        if attempt > outbox.MAX_ATTEMPTS:
            await self._fail(job_id, "It took its worker down each time it was tried.")
            return None
        return await retry_transaction(work)

    async def _refuse(self, job: Job, error: str) -> None:
        async def work() -> None:
            async with transaction(self._engine) as conn:
                await jobs.finish(conn, job, error=error, now=self._clock())

        try:
            await retry_transaction(work)
        except jobs.Ended:
            log.debug("job %d was cancelled", job.id)

    async def _fail(self, job_id: int, error: str) -> bool:
        """Note a fault of ours; True when the job is tried again."""
        async with transaction(self._engine) as conn:
            dead = await outbox.fail(conn, Task.RUN_JOBS, job_id, error, now=self._clock())
            if dead:
                await jobs.give_up(conn, job_id, _GIVEN_UP, now=self._clock())
        if dead:
            log.error("given up: %s(%d)", Task.RUN_JOBS, job_id)
        return not dead

    async def _take_back(self, job_id: int) -> None:
        try:
            async with transaction(self._engine) as conn:
                await outbox.take_back(conn, Task.RUN_JOBS, [job_id])
        except Exception as error:
            # It stays counted: a database that is away five times in a row is told to staff.
            log.warning("the attempt at job %d stays counted: %s", job_id, type(error).__name__)
