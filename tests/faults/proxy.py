"""A TCP proxy in a thread that can disturb connections."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any, Self, TypeVar

from tests.servers.process import free_port

T = TypeVar("T")

CHUNK = 65536


class Way(Enum):
    """The direction, seen from the client."""

    UP = "to the server"
    DOWN = "to the client"


class Proxy:
    """Forwards connections at `port` to `target`, a port of this machine.

    Attributes take effect with the next chunk.  `delay_s` passes before each chunk.
    """

    def __init__(self, target: int = 0) -> None:
        self.port = free_port()
        self.target = target
        self.delay_s = 0.0
        #: The number of accepted connections and of forwarded bytes.
        self.connections = 0
        self.passed = dict.fromkeys(Way, 0)
        self._black_hole = False
        self._left: dict[Way, int | None] = dict.fromkeys(Way)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def refuse(self) -> None:
        """Refuse new connections and close the open ones."""
        self._do(self._deafen())
        self.cut()

    def swallow(self) -> None:
        """Accept everything and forward nothing, on new connections too."""
        self._black_hole = True

    def cut(self) -> None:
        """Reset all connections."""
        self._do(self._cut())

    def cut_after(self, count: int, way: Way) -> None:
        """Forward this many more bytes in this direction, then reset all connections, once."""
        self._left[way] = count

    def heal(self) -> None:
        """Forward normally again; old connections are closed, because they have lost data."""
        self.delay_s = 0.0
        self._left = dict.fromkeys(Way)
        if self._black_hole:
            self._black_hole = False
            self.cut()
        self._do(self._listen())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _deafen(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _end(self) -> None:
        await self._deafen()
        await self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        server: asyncio.StreamWriter | None = None
        try:
            if self._black_hole:
                await reader.read(-1)
                return
            answers, server = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(server)
            await asyncio.gather(
                self._pump(reader, server, Way.UP), self._pump(answers, writer, Way.DOWN)
            )
        except OSError:
            pass
        finally:
            for each in filter(None, (writer, server)):
                self._writers.discard(each)
                each.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        while chunk := await reader.read(CHUNK):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self._black_hole:
                continue
            left = self._left[way]
            if left is not None:
                chunk = chunk[:left]
                self._left[way] = left - len(chunk)
            self.passed[way] += len(chunk)
            writer.write(chunk)
            await writer.drain()
            if self._left[way] == 0:
                self._left[way] = None
                await asyncio.sleep(0.01)  # Forwarded data must arrive before the reset.
                await self._cut()
        with suppress(OSError, RuntimeError):
            writer.write_eof()
