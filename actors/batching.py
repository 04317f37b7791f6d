"""Processes a list of rows in one transaction, or individually if one of them fails."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import correlation
from bookstore.database.engine import is_unavailable, reading, run_transaction, transaction
from bookstore.database.failpoints import failpoint
from bookstore.database.group_commit import GroupCommit
from bookstore.orders import Trace
from bookstore.tasks import outbox
from bookstore.tasks.outbox import StartedAttempt

log = logging.getLogger(__name__)

#: Well below the actors' time limit, because dramatiq lets a late run continue beside its retry.
DEADLINE_S = 45.0
#: Lists that wait at the same time are combined up to this many rows.  A larger batch saves
#: statements and COMMITs; but if one row fails, processing the others individually must take no
#: more than two or three seconds.
MAX_BATCH = 240
#: How long to retry uncounting an attempt while the database is unavailable.
DATABASE_OUTAGE_TIMEOUT_S = 20.0


class BatchHandler(Protocol):
    """The work of a service on a list of rows, in the caller's transaction."""

    async def __call__(
        self, conn: AsyncConnection, ref_ids: Collection[int], /, *, trace: Trace, now: datetime
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _MessageRows:
    """The rows of one message."""

    ref_ids: Sequence[int]
    message_id: str | None


@dataclass(frozen=True, slots=True)
class _Trace:
    """Which worker processes the rows, since when, and for which messages."""

    worker: str
    messages: Mapping[int, str | None]
    starts: Mapping[int, StartedAttempt]
    started: float = field(default_factory=time.monotonic)

    def message_of(self, ref_id: int) -> str | None:
        return self.messages[ref_id]

    def attempt_of(self, ref_id: int) -> int:
        return self.starts[ref_id].number

    def request_of(self, ref_id: int) -> str | None:
        return self.starts[ref_id].request_id

    def worked_ms(self) -> int:
        return round((time.monotonic() - self.started) * 1000)


class BatchProcessor:
    """Processes lists of rows of one kind of task.

    A row that was attempted before runs in its own transaction, so that it cannot fail others.
    Rows with the fewest attempts run first, and from its second attempt on a row is retried only
    after a delay.  A new row waits for at most one such retry, not for all of them.  A failure of
    a row is recorded, and its message is acknowledged.  If the database is unavailable, the error
    is raised and the message is redelivered.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        task: outbox.Task,
        work: BatchHandler,
        *,
        worker: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._task = task
        self._work = work
        self._worker = worker
        self._clock = clock
        #: Held by the transaction of a batch of new rows, or by that of a single retry.
        self._transaction_lock = asyncio.Lock()
        self._new_rows = self._grouped(self._process_new)
        self._retries = self._grouped(self._process_individually)

    async def process(self, ref_ids: Sequence[int], message_id: str | None) -> None:
        """Process those of these rows that are unfinished.  Safe to repeat."""
        rows = _MessageRows(ref_ids, message_id)
        async with asyncio.timeout(DEADLINE_S):
            unfinished = await self._new_rows(rows)
            if not unfinished.isdisjoint(ref_ids):
                await self._retries(rows)

    def _grouped(
        self, process: Callable[[Mapping[int, str | None]], Awaitable[Collection[int]]]
    ) -> GroupCommit[_MessageRows, frozenset[int]]:
        async def process_lists(lists: Sequence[_MessageRows]) -> list[frozenset[int] | Exception]:
            messages = {ref_id: each.message_id for each in lists for ref_id in each.ref_ids}
            try:
                unfinished = frozenset(await process(messages))
            except Exception as error:
                # It applies to the whole batch: every message is redelivered.
                return [error] * len(lists)
            return [unfinished] * len(lists)

        return GroupCommit(process_lists, limit=MAX_BATCH, size=lambda rows: len(rows.ref_ids))

    async def _process_new(self, messages: Mapping[int, str | None]) -> Collection[int]:
        """Process the rows without an attempt; returns the other rows, or all of them on
        failure."""
        async with self._transaction_lock:
            attempts = await self._ready(messages)
            new = [ref_id for ref_id, count in attempts.items() if count == 0]
            if new:
                try:
                    starts = await run_transaction(
                        self._engine, outbox.start_attempts, self._task, new
                    )
                    await self._try(new, starts, messages)
                except Exception as error:
                    if is_unavailable(error):
                        raise
                    log.warning(
                        "%s: a list of %d failed; processing individually", self._task, len(new)
                    )
                    return attempts
            return attempts.keys() - new

    async def _process_individually(self, messages: Mapping[int, str | None]) -> Collection[int]:
        attempts = await self._ready(messages)
        for ref_id in sorted(attempts, key=lambda ref_id: (attempts[ref_id], ref_id)):
            async with self._transaction_lock:
                await self._retry_single(ref_id, messages)
        return ()

    async def _retry_single(self, ref_id: int, messages: Mapping[int, str | None]) -> None:
        starts = await run_transaction(self._engine, self._start_retry, ref_id)
        if ref_id not in starts:
            return
        with correlation.bind_request_ids([starts[ref_id].request_id]):
            await self._attempt_single(ref_id, starts, messages)

    async def _attempt_single(
        self, ref_id: int, starts: Mapping[int, StartedAttempt], messages: Mapping[int, str | None]
    ) -> None:
        if starts[ref_id].number > outbox.MAX_ATTEMPTS:
            await self._fail(ref_id, "The worker process died during every attempt.")
            return
        try:
            await self._try([ref_id], starts, messages)
        except Exception as error:
            if is_unavailable(error):
                raise
            failpoint("X1", [ref_id])
            log.exception("%s(%d) failed", self._task, ref_id)
            await self._fail(ref_id, f"{type(error).__name__}: {error}")
            failpoint("X2", [ref_id])

    async def _try(
        self,
        ref_ids: Collection[int],
        starts: Mapping[int, StartedAttempt],
        messages: Mapping[int, str | None],
    ) -> None:
        failpoint("P2", ref_ids)
        trace = _Trace(self._worker, messages, starts)

        async def work(conn: AsyncConnection) -> Collection[int]:
            # Another worker with a message about the same rows waits here, and then finds no rows.
            locked = await outbox.lock(conn, self._task, ref_ids)
            await outbox.complete(conn, self._task, locked)
            failpoint("P3", ref_ids)
            await self._work(conn, locked, trace=trace, now=self._clock())
            return locked

        try:
            done = await run_transaction(self._engine, work)
        except Exception as error:
            if is_unavailable(error):
                await self._uncount_attempts(ref_ids)
            raise
        if done:
            count, seconds = len(done), trace.worked_ms() / 1000
            extra = {"task": self._task, "count": count, "seconds": seconds, "ids": [*done]}
            with correlation.bind_request_ids(starts[ref_id].request_id for ref_id in done):
                log.info("processed", extra=extra)

    async def _ready(self, ref_ids: Collection[int]) -> dict[int, int]:
        async with reading(self._engine) as conn:
            return await outbox.ready(conn, self._task, ref_ids, now=self._clock())

    async def _start_retry(self, conn: AsyncConnection, ref_id: int) -> dict[int, StartedAttempt]:
        started = await outbox.start_attempts(conn, self._task, [ref_id])
        for number, _ in started.values():
            await outbox.delay_retry(conn, self._task, ref_id, number, now=self._clock())
        return started

    async def _fail(self, ref_id: int, error: str) -> None:
        async with transaction(self._engine) as conn:
            dead = await outbox.fail(conn, self._task, ref_id, error, now=self._clock())
        if dead:
            log.error("dead: %s(%d)", self._task, ref_id)

    async def _uncount_attempts(self, ref_ids: Collection[int]) -> None:
        """The database is unavailable: this must not count as an attempt, or the rows become
        dead."""
        ends = time.monotonic() + DATABASE_OUTAGE_TIMEOUT_S
        while time.monotonic() < ends:
            try:
                async with transaction(self._engine) as conn:
                    await outbox.uncount_attempts(conn, self._task, ref_ids)
                return
            except Exception as error:
                if not is_unavailable(error):
                    raise
            await asyncio.sleep(1)
