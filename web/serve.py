"""The web process: from settings to an open port, and back on SIGTERM."""

import asyncio
import os
import signal
from collections.abc import Callable
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from tempfile import TemporaryDirectory

from aiohttp import web

from bookstore.operations import metrics
from config import log, memory
from config.settings import Settings, read_settings
from web.app import make_app
from web.monitoring.metrics_port import make_exposition
from web.server.request_limits import BOUNDED
from web.server.server import Runner

#: What is running when we are told to stop may take so long.
SHUTDOWN_S = 10.0
#: Signals within so long are one: a terminal tells the whole group, and then its parent does.
SAME_S = 1.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: A process of its own from the start: nothing of ours survives a fork in good order.
_SPAWN = get_context("spawn")


async def serve(
    settings: Settings, *, ready: Callable[[], None] = lambda: None, shared: bool = False
) -> None:
    """Serve the store until SIGTERM or SIGINT; requests under way are finished first.  A second
    signal kills.

    `shared` lets several processes listen on the same port.
    """
    site = (settings.host, settings.port)
    await _serve(await make_app(settings), site, ready=ready, shared=shared)


async def serve_metrics(settings: Settings, host: str, port: int) -> None:
    """Serve the metrics of this machine's processes, and nothing else, until SIGTERM or SIGINT."""
    await _serve(make_exposition(settings), (host, port))


async def _serve(
    app: web.Application,
    site: tuple[str, int],
    *,
    ready: Callable[[], None] = lambda: None,
    shared: bool = False,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        if not stop.is_set():
            loop.call_later(SAME_S, end_at_once)
        stop.set()

    def end_at_once() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, told)
    if (parent := parent_process()) is not None:
        # Without its parent nobody would ever stop this process.
        loop.add_reader(parent.sentinel, stop.set)
    runner = Runner(app, BOUNDED, shutdown_timeout=SHUTDOWN_S)
    try:
        await runner.setup()
        await web.TCPSite(runner, *site, reuse_port=True if shared else None).start()
        memory.settle()
        ready()
        await stop.wait()
    finally:
        await runner.cleanup()


def serve_in(processes: int) -> int:
    """Serve from so many processes; the exit code is 1 when one of them failed.

    When one ends, all do: whoever supervises us starts us again.
    """
    settings = read_settings()
    if processes == 1:
        asyncio.run(serve(settings))
        return 0
    if settings.embedded:
        raise ValueError("workers inside the web process allow one process only")
    with TemporaryDirectory(prefix="bookstore-metrics-") as folder:
        # Whichever process is asked for metrics answers for all.
        os.environ.setdefault(metrics.FOLDER, folder)
        return _serve_together([_SPAWN.Process(target=_serve_shared) for _ in range(processes)])


def _serve_together(spawned: list[SpawnProcess]) -> int:
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for process in spawned:
            if process.is_alive():
                process.terminate()

    for number in SIGNALS:
        signal.signal(number, stop)
    for process in spawned:
        process.start()
    wait([process.sentinel for process in spawned])
    if not stopping:  # To be told twice kills them, and only whoever tells us may want that.
        stop()
    for process in spawned:
        process.join()
    # One that is told twice, the second time when it is through, ends by the signal.
    fine = {0, -signal.SIGTERM}
    return 0 if all(process.exitcode in fine for process in spawned) else 1


def _serve_shared() -> None:
    log.set_up()
    asyncio.run(serve(read_settings(), shared=True))
