"""Lists worked off in one transaction, or one by one when one of them is bad."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import correlation
from bookstore.database.engine import is_away, reading, retry_transaction, transaction
from bookstore.database.failpoints import failpoint
from bookstore.database.group_commit import GroupCommit
from bookstore.orders import Trace
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Start

log = logging.getLogger(__name__)

#: Well below the actors' time limit: dramatiq lets a late run go on beside its retry.
DEADLINE_S = 45.0
#: Lists that wait at the same moment are joined up to this many rows: the statements and the
#: COMMIT of a transaction cost the same for all of them, and when one is bad, trying the others
#: one by one takes two or three seconds at most.
TOGETHER = 240
#: How long to wait for a database that went away, to take the attempt back.
MENDING_S = 20.0


class Work(Protocol):
    """What a service does with a list of rows, in the caller's transaction."""

    async def __call__(
        self, conn: AsyncConnection, ref_ids: Collection[int], /, *, trace: Trace, now: datetime
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _List:
    """The rows that one message asks for."""

    ref_ids: Sequence[int]
    message_id: str | None


@dataclass(frozen=True, slots=True)
class _Trace:
    """Who works on the rows, since when, and for which messages."""

    worker: str
    messages: Mapping[int, str | None]
    starts: Mapping[int, Start]
    started: float = field(default_factory=time.monotonic)

    def message_of(self, ref_id: int) -> str | None:
        return self.messages[ref_id]

    def attempt_of(self, ref_id: int) -> int:
        return self.starts[ref_id].number

    def request_of(self, ref_id: int) -> str | None:
        return self.starts[ref_id].request_id

    def worked_ms(self) -> int:
        return round((time.monotonic() - self.started) * 1000)


class Batches:
    """Works off lists of one task's rows.

    A row that was tried before runs alone, so that it cannot take others down with it; those
    tried least come first, and from its second attempt on a row pauses before the next.  What
    is new waits for one of those at most, not for all of them.  A bad row is recorded as such
    and its message is done with; when the database is away, that is raised, and the message
    comes again.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        task: outbox.Task,
        work: Work,
        *,
        worker: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._task = task
        self._work = work
        self._worker = worker
        self._clock = clock
        #: Whose transaction it is: of the new ones together, or of one that was tried before.
        self._turn = asyncio.Lock()
        self._first = self._grouped(self._together)
        self._again = self._grouped(self._one_by_one)

    async def work_off(self, ref_ids: Sequence[int], message_id: str | None) -> None:
        """Do what is still to be done about these rows."""
        wanted = _List(ref_ids, message_id)
        async with asyncio.timeout(DEADLINE_S):
            left = await self._first(wanted)
            if not left.isdisjoint(ref_ids):
                await self._again(wanted)

    def _grouped(
        self, work_off: Callable[[Mapping[int, str | None]], Awaitable[Collection[int]]]
    ) -> GroupCommit[_List, frozenset[int]]:
        async def work_off_lists(lists: Sequence[_List]) -> list[frozenset[int] | Exception]:
            messages = {ref_id: each.message_id for each in lists for ref_id in each.ref_ids}
            try:
                left = frozenset(await work_off(messages))
            except Exception as error:  # It is everybody's: each of the messages comes again.
                return [error] * len(lists)
            return [left] * len(lists)

        return GroupCommit(work_off_lists, limit=TOGETHER, size=lambda wanted: len(wanted.ref_ids))

    async def _together(self, messages: Mapping[int, str | None]) -> Collection[int]:
        """Try those that nobody has tried; the others, or all when it fails, are left."""
        async with self._turn:
            attempts = await self._ready(messages)
            fresh = [ref_id for ref_id, count in attempts.items() if count == 0]
            if fresh:
                try:
                    await self._try(fresh, await self._start(fresh), messages)
                except Exception as error:
                    if is_away(error):
                        raise
                    log.warning("%s: a list of %d failed, one by one", self._task, len(fresh))
                    return attempts
            return attempts.keys() - fresh

    async def _one_by_one(self, messages: Mapping[int, str | None]) -> Collection[int]:
        attempts = await self._ready(messages)
        for ref_id in sorted(attempts, key=lambda ref_id: (attempts[ref_id], ref_id)):
            async with self._turn:
                await self._alone(ref_id, messages)
        return ()

    async def _alone(self, ref_id: int, messages: Mapping[int, str | None]) -> None:
        starts = await self._start([ref_id], again=True)
        if ref_id not in starts:
            return
        with correlation.caused_by([starts[ref_id].request_id]):
            await self._alone_again(ref_id, starts, messages)

    async def _alone_again(
        self, ref_id: int, starts: Mapping[int, Start], messages: Mapping[int, str | None]
    ) -> None:
        if starts[ref_id].number > outbox.MAX_ATTEMPTS:
            await self._fail(ref_id, "It took its worker down each time it was tried.")
            return
        try:
            await self._try([ref_id], starts, messages)
        except Exception as error:
            if is_away(error):
                raise
            failpoint("X1", [ref_id])
            log.exception("%s(%d) failed", self._task, ref_id)
            await self._fail(ref_id, f"{type(error).__name__}: {error}")
            failpoint("X2", [ref_id])

    async def _try(
        self,
        ref_ids: Collection[int],
        starts: Mapping[int, Start],
        messages: Mapping[int, str | None],
    ) -> None:
        failpoint("P2", ref_ids)
        trace = _Trace(self._worker, messages, starts)

        async def work() -> Collection[int]:
            async with transaction(self._engine) as conn:
                # Whoever has a message about the same rows waits here, and finds them gone.
                held = await outbox.hold(conn, self._task, ref_ids)
                await outbox.done(conn, self._task, held)
                failpoint("P3", ref_ids)
                await self._work(conn, held, trace=trace, now=self._clock())
                return held

        try:
            held = await retry_transaction(work)
        except Exception as error:
            if is_away(error):
                await self._take_back(ref_ids)
            raise
        if held:
            with correlation.caused_by(starts[ref_id].request_id for ref_id in held):
                log.info(
                    "worked off",
                    extra={
                        "task": self._task,
                        "count": len(held),
                        "seconds": trace.worked_ms() / 1000,
                        "ids": [*held],
                    },
                )

    async def _ready(self, ref_ids: Collection[int]) -> dict[int, int]:
        async with reading(self._engine) as conn:
            return await outbox.ready(conn, self._task, ref_ids, now=self._clock())

    async def _start(self, ref_ids: Collection[int], *, again: bool = False) -> dict[int, Start]:
        async def work() -> dict[int, Start]:
            async with transaction(self._engine) as conn:
                started = await outbox.start(conn, self._task, ref_ids)
                if again:
                    for ref_id, (times, _) in started.items():
                        await outbox.pause(conn, self._task, ref_id, times, now=self._clock())
                return started

        return await retry_transaction(work)

    async def _fail(self, ref_id: int, error: str) -> None:
        async with transaction(self._engine) as conn:
            dead = await outbox.fail(conn, self._task, ref_id, error, now=self._clock())
        if dead:
            log.error("given up: %s(%d)", self._task, ref_id)

    async def _take_back(self, ref_ids: Collection[int]) -> None:
        """The database went away: that is no fault of these rows, and must not make them dead."""
        ends = time.monotonic() + MENDING_S
        while time.monotonic() < ends:
            try:
                async with transaction(self._engine) as conn:
                    await outbox.take_back(conn, self._task, ref_ids)
                return
            except Exception as error:
                if not is_away(error):
                    raise
            await asyncio.sleep(1)
