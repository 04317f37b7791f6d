"""How far a job is, told while it goes on (see `live.stream`)."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from bookstore.database.engine import reading
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job
from web.live import sse
from web.server.keys import CLOSING, ENGINE
from web.server.problems import AWAY

#: How often a stream looks how far the job is.
_LOOK_S = 0.5


class Progress:
    """A job, told again whenever it got on (see `live.Source`); `told` gives it as JSON."""

    def __init__(self, request: web.Request, job: Job, told: Callable[[Job], str]) -> None:
        self._engine = request.config_dict[ENGINE]
        self._closing = request.config_dict[CLOSING]
        self._job = job
        self._as_json = told
        self._told: Job | None = None

    async def next(self) -> str | None:
        while self._job == self._told:
            if self._job.ended or self._closing.is_set():
                return None
            await asyncio.sleep(_LOOK_S)
            try:
                async with reading(self._engine) as conn:
                    self._job = await jobs.get(conn, self._job.id)
            except AWAY:
                continue  # The reader need not know: it comes later.
        self._told = self._job
        return sse.event(self._job.read, "progress", self._as_json(self._job))
