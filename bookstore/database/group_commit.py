"""Work that waits at the same moment is done together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from bookstore import correlation

CheckoutRequest = TypeVar("CheckoutRequest")
Answer = TypeVar("Answer")


#: The longest that a group waits for those who may still come.
LONGEST_REST_S = 0.05


class GroupCommit(Generic[CheckoutRequest, Answer]):
    """One transaction for everybody who waits, without a timer.

    Whoever finds nothing running starts at once and alone, so at rest nobody waits; those
    who come meanwhile go together next.  `work` answers a list of wishes with a list as
    long, an exception in the place of each wish that it refuses.  When it raises, nothing
    of the list was done, and each of the wishes is worked off alone, all at once: one that
    has to wait for a lock keeps nobody else.  `watch` gets to know how many went together.

    A transaction costs about the same for few and for many.  With a `rest`, the next group is
    not begun before so many times as long as a group of several took, unless enough for a full
    one wait already: those who were just answered are back by then, and two halves that take
    turns become one whole.
    """

    def __init__(
        self,
        work: Callable[[list[CheckoutRequest]], Awaitable[Sequence[Answer | Exception]]],
        *,
        limit: int,
        size: Callable[[CheckoutRequest], int] = lambda wish: 1,
        rest: float = 0.0,
        watch: Callable[[int], object] = lambda together: None,
    ) -> None:
        self._work = work
        self._limit = limit
        self._size = size
        self._rest = rest
        self._watch = watch
        self._waiting: list[tuple[CheckoutRequest, asyncio.Future[Answer]]] = []
        self._running: asyncio.Task[None] | None = None
        self._alone: set[asyncio.Task[None]] = set()

    async def __call__(self, wish: CheckoutRequest) -> Answer:
        """What `work` answers this wish; raises what it refuses it with.

        A caller that is cancelled does not stop the work: its outcome is then unknown.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((wish, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        # It goes on for those who come later, and must not pass for the work of the first one.
        correlation.forget()
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                group = self._next()
                self._watch(len(group))
                began = loop.time()
                await self._work_off(group)
                if self._rest and len(group) > 1 and not self._enough():
                    took = loop.time() - began
                    await asyncio.sleep(min(self._rest * took, LONGEST_REST_S))
        finally:
            self._running = None
            for _, answer in self._waiting:
                answer.cancel()
            self._waiting.clear()

    def _enough(self) -> bool:
        return sum(self._size(wish) for wish, _ in self._waiting) >= self._limit

    def _next(self) -> list[tuple[CheckoutRequest, asyncio.Future[Answer]]]:
        size, count = 0, 0
        for wish, _ in self._waiting:
            size += self._size(wish)
            if count and size > self._limit:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _work_off(self, group: list[tuple[CheckoutRequest, asyncio.Future[Answer]]]) -> None:
        outcomes: Sequence[Answer | Exception]
        try:
            outcomes = await self._work([wish for wish, _ in group])
        except Exception as error:
            if len(group) > 1:
                for member in group:
                    alone = asyncio.create_task(self._work_off([member]))
                    self._alone.add(alone)
                    alone.add_done_callback(self._alone.discard)
                return
            outcomes = [error]
        for (_, answer), outcome in zip(group, outcomes, strict=True):
            if answer.done():
                continue  # Its caller has gone.
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)
