"""Five hundred slow clients, and their effect on other visitors."""

import asyncio
import socket
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.benchmarks.cpu import session_of
from tests.benchmarks.request_loop import RequestPlan
from tests.benchmarks.requests import ask
from tests.benchmarks.site import Site
from tests.e2e.programs import Web

CLIENTS = 500
#: All slow clients must be disconnected after this time.
LIMIT_S = 30
POST = b"POST /api/v1/session HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
#: What a client sends first, what it sends every second afterwards, and whether it reads.
KINDS: dict[str, tuple[bytes, bytes, bool]] = {
    "silent": (b"", b"", True),
    "slow line": (b"G", b"E", True),
    "slow fields": (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n", True),
    "slow body": (POST + b'Content-Length: 4000\r\n\r\n{"', b"x", True),
    "slow chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", True),
    "never reads": (b"GET /static/site.css HTTP/1.1\r\nHost: a\r\n\r\n" * 20, b"", False),
}


def slow(site: Site, rounds: int) -> None:
    """How long each kind stays connected; p95 of a visitor before and during it. `rounds` is 1."""
    site.clear()
    print(f"\nslow: {CLIENTS} clients of each kind, to be closed within {LIMIT_S} s")
    with Web(site.settings) as web:
        for name, kind in KINDS.items():
            before = _p95_ms(web.port, 5)
            memory = _resident_mb(web)
            lasted, meanwhile, most = asyncio.run(
                _besiege(web.port, *kind, lambda: _resident_mb(web))
            )
            print(
                f"{name:12} the last is closed after {lasted:4.1f} s; a visitor's p95"
                f" {before:6.1f} ms before, {meanwhile:6.1f} ms meanwhile"
                f" ({meanwhile / before:.2f}); memory + {most - memory:.0f} MB",
                flush=True,
            )


async def _besiege(
    port: int, first: bytes, then: bytes, reads: bool, memory: Callable[[], float]
) -> tuple[float, float, float]:
    """Seconds until the last client was disconnected, p95 of a visitor, and peak memory."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(_client(port, first, then, reads)) for _ in range(CLIENTS)]
        await asyncio.sleep(1)
        visitor = group.create_task(asyncio.to_thread(_p95_ms, port, 10))
        await asyncio.sleep(8)
        most = memory()
    return max(task.result() for task in clients) - began, visitor.result(), most


async def _client(port: int, first: bytes, then: bytes, reads: bool) -> float:
    """The time when the server closed the connection."""
    sock = socket.socket()
    if not reads:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock)
    with suppress(ConnectionError, TimeoutError):
        writer.write(first)
        async with asyncio.timeout(LIMIT_S * 2):
            if not reads:
                writer.transport.pause_reading()
            while not writer.is_closing() and not reader.at_eof():
                if then:
                    writer.write(then)
                if reads:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            await reader.read(1000)
                else:
                    await asyncio.sleep(1)
                    # A reset is seen only when data is sent.
                    writer.write(first[:50])
                    await writer.drain()
    writer.close()
    return time.monotonic()


def _p95_ms(port: int, seconds: float) -> float:
    answers = ask(RequestPlan(port, "GET", "/api/v1/books", [None], seconds=seconds, customers=2))
    return statistics.quantiles(answers.waits, n=100)[94] * 1000


def _resident_mb(web: Web) -> float:
    status = Path(f"/proc/{session_of(web)}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
