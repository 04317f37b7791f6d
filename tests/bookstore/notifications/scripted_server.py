"""A mail server whose answers a test selects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field


@dataclass
class Script:
    """A mail server that follows a script, for faults that a real server cannot produce.

    `answers` maps a command, or "." for the whole e-mail, to its answer; None sends no answer, and
    "" closes the connection.  Other commands get the usual answer.
    """

    answers: dict[str, str | None] = field(default_factory=dict)
    #: Whether it supports PIPELINING.
    pipelining: bool = False
    #: Whether it accepts DATA after a refused MAIL or RCPT (RFC 2920, section 3.1).
    accepts_data_anyway: bool = False
    #: Connections after this many get the usual answers.
    bad_connections: int = 1000
    connections: int = 0
    commands: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Script"]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        usual_answers = {"DATA": "354 Go on", "QUIT": "221 Bye", "": "220 script.test"}
        if self.pipelining:
            usual_answers["EHLO"] = "250-script.test\r\n250 PIPELINING"
        command, refused = "", False
        with closing(writer):
            while True:
                answer: str | None = usual_answers.get(command, "250 OK")
                if number <= self.bad_connections:
                    answer = self.answers.get(command, answer)
                if command == "DATA" and refused and not self.accepts_data_anyway:
                    answer = "503 5.5.1 Nobody to send it to"
                refused = command in ("MAIL", "RCPT") and (
                    refused or (answer or "").startswith(("4", "5"))
                )
                self.commands.append(command)
                if answer == "":
                    return
                if answer is None:
                    await reader.read()
                    return
                writer.write(f"{answer}\r\n".encode())
                if command == "DATA" and answer == "354 Go on":
                    try:
                        await reader.readuntil(b"\r\n.\r\n")
                    except asyncio.IncompleteReadError:
                        return
                    command = "."
                    continue
                line = await reader.readline()
                if not line:
                    return
                self.lines.append(line.decode().strip())
                command = self.lines[-1].split()[0].upper()
