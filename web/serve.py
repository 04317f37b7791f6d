"""The web process: start from the settings, listen on a port, stop on SIGTERM."""

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
from web.monitoring.health import READINESS
from web.monitoring.metrics_port import make_exposition
from web.server.request_limits import DEFAULT_LIMITS
from web.server.server import StoreRunner

#: Time for running requests to complete after a stop signal.
SHUTDOWN_S = 10.0
#: Signals within this time count as one: a terminal signals the whole process group, and then the
#: parent process signals its children.
DUPLICATE_SIGNAL_S = 1.0
SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Start processes with "spawn": event loops, threads and connections do not survive a fork.
_SPAWN = get_context("spawn")


async def serve(
    settings: Settings, *, ready: Callable[[], None] = lambda: None, shared: bool = False
) -> None:
    """Serve the store until SIGTERM or SIGINT.

    After SIGTERM a process behind a load balancer first reports that it is not ready, and
    continues to accept connections for `stop_delay_s`.  Then running requests complete.  A second
    signal kills the process.

    `shared` lets several processes listen on the same port.
    """
    site = (settings.host, settings.port)
    delay_s = 0.0 if settings.embedded else settings.stop_delay_s
    await _serve(await make_app(settings), site, ready=ready, shared=shared, delay_s=delay_s)


async def serve_metrics(settings: Settings, host: str, port: int) -> None:
    """Serve only the metrics of this machine's processes until SIGTERM or SIGINT."""
    await _serve(make_exposition(settings), (host, port))


async def _serve(
    app: web.Application,
    site: tuple[str, int],
    *,
    ready: Callable[[], None] = lambda: None,
    shared: bool = False,
    delay_s: float = 0.0,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    first: int | None = None

    def on_signal(number: int) -> None:
        nonlocal first
        if first is not None:
            return
        first = number
        loop.call_later(DUPLICATE_SIGNAL_S, restore_default_handlers)
        if number == signal.SIGTERM and delay_s:
            if READINESS in app:
                app[READINESS].stop()
            loop.call_later(delay_s, stop.set)
        else:
            stop.set()

    def restore_default_handlers() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    if (parent := parent_process()) is not None:
        # If the parent process dies, no other process would stop this one.
        loop.add_reader(parent.sentinel, stop.set)
    runner = StoreRunner(app, DEFAULT_LIMITS, shutdown_timeout=SHUTDOWN_S)
    try:
        await runner.setup()
        await web.TCPSite(runner, *site, reuse_port=True if shared else None).start()
        memory.freeze_startup_objects()
        ready()
        await stop.wait()
    finally:
        await runner.cleanup()


def serve_processes(processes: int) -> int:
    """Serve from this number of processes. The exit code is 1 if one of them failed.

    When one process ends, all are stopped; the service manager restarts the program.
    """
    settings = read_settings()
    if processes == 1:
        asyncio.run(serve(settings))
        return 0
    if settings.embedded:
        raise ValueError("workers inside the web process allow one process only")
    with TemporaryDirectory(prefix="bookstore-metrics-") as folder:
        # Processes share this directory, so each of them can report the metrics of all.
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
    # A second signal kills the processes; only a second signal to this process may cause that.
    if not stopping:
        stop()
    for process in spawned:
        process.join()
    # A process that gets a second signal after its cleanup ends by that signal.
    expected = {0, -signal.SIGTERM}
    return 0 if all(process.exitcode in expected for process in spawned) else 1


def _serve_shared() -> None:
    log.set_up()
    asyncio.run(serve(read_settings(), shared=True))
