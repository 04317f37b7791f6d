"""Server-sent events with the progress of a job (see `web.live.sse.stream`)."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from bookstore.database.engine import reading
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job
from web.live import sse
from web.server.keys import ENGINE, SHUTTING_DOWN
from web.server.problems import UNAVAILABLE_ERRORS

#: Interval at which a stream reads the job.
_POLL_S = 0.5


class JobProgress:
    """Events with the job, as JSON by `to_json`, whenever it changed (an `sse.EventSource`)."""

    def __init__(self, request: web.Request, job: Job, to_json: Callable[[Job], str]) -> None:
        self._engine = request.config_dict[ENGINE]
        self._shutting_down = request.config_dict[SHUTTING_DOWN]
        self._job = job
        self._to_json = to_json
        self._sent: Job | None = None

    async def next(self) -> str | None:
        while self._job == self._sent:
            if self._job.ended or self._shutting_down.is_set():
                return None
            await asyncio.sleep(_POLL_S)
            try:
                async with reading(self._engine) as conn:
                    self._job = await jobs.get(conn, self._job.id)
            except UNAVAILABLE_ERRORS:
                continue  # The database is unavailable; send the change later.
        self._sent = self._job
        return sse.event(self._job.read, "progress", self._to_json(self._job))
