"""A mail server that accepts and discards every e-mail: `python -m tests.benchmarks.sink PORT`."""

import asyncio
import os
import socket
import subprocess
import sys

from tests.e2e.programs import ROOT
from tests.servers.process import Server, free_port


class Sink(Server):
    """The sink in its own process."""

    name = "sink"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @property
    def url(self) -> str:
        """The value for `BOOKSTORE_SMTP_URL`."""
        return f"smtp://127.0.0.1:{self.port}"

    def wipe(self) -> None:
        """It stores nothing."""

    def _spawn(self) -> "subprocess.Popen[bytes]":
        return self._popen(
            [sys.executable, "-m", "tests.benchmarks.sink", str(self.port)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client until it disconnects (a minimal RFC 5321)."""
    writer.write(b"220 sink\r\n")
    while line := await reader.readline():
        command = line[:4].upper()
        if command == b"EHLO":
            writer.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")
        elif command == b"DATA":
            writer.write(b"354 go on\r\n")
            await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"250 taken\r\n")
        elif command == b"QUIT":
            writer.write(b"221 bye\r\n")
            break
        else:
            writer.write(b"250 fine\r\n")
    writer.close()


async def serve(port: int) -> None:
    """Accept e-mails until the process ends."""
    async with await asyncio.start_server(talk, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
