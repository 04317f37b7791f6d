"""The web process: from settings to an open port, and back on SIGTERM."""

import asyncio
import contextlib
import multiprocessing
import signal
from collections.abc import Callable

from aiohttp import web

from config import log
from config.settings import Settings, read_settings
from web.app import make_app

#: What is running when we are told to stop may take so long.
SHUTDOWN_S = 10.0
#: An idle connection is closed after this; aiohttp would keep it for an hour.
KEEPALIVE_S = 15.0


async def serve(
    settings: Settings, *, ready: Callable[[], None] = lambda: None, shared: bool = False
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first.

    `shared` lets several processes listen on the same port.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        await make_app(settings),
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=SHUTDOWN_S,
    )
    try:
        await runner.setup()
        await web.TCPSite(
            runner, settings.host, settings.port, reuse_port=True if shared else None
        ).start()
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
    spawned = [
        multiprocessing.get_context("spawn").Process(target=_serve_shared, daemon=False)
        for _ in range(processes)
    ]
    for process in spawned:
        process.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(spawned))
    with contextlib.suppress(KeyboardInterrupt):
        multiprocessing.connection.wait([process.sentinel for process in spawned])
    _stop(spawned)
    for process in spawned:
        process.join()
    return 1 if any(process.exitcode for process in spawned) else 0


def _serve_shared() -> None:
    log.set_up()
    asyncio.run(serve(read_settings(), shared=True))


def _stop(processes: list[multiprocessing.context.SpawnProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.terminate()
