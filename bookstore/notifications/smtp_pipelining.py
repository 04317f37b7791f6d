"""A connection to a mail server that pipelines its commands.

aiosmtplib connects, encrypts and signs in, but it waits for each answer before the next command.
Most servers accept several commands at once (PIPELINING, RFC 2920): an e-mail then needs two round
trips instead of four, and half of the work at both ends.
"""

import asyncio
import re
from typing import NamedTuple, Self, cast

import aiosmtplib

START_INPUT, COMPLETED = 354, 250
#: A longer answer is an error.
ANSWER_BYTES = 65_536
#: Lines with a hyphen behind the code, and one without (RFC 5321, section 4.2.1).
_ANSWER = re.compile(rb"(?:[^\n]{3}-[^\n]*\n)*(?![^\n]{3}-)[^\n]*\n")
_CONNECTION_CLOSED = "The mail server closed the connection."


class Answer(NamedTuple):
    """The server's answer; `text` may have several lines, and undecodable bytes as surrogates."""

    code: int
    text: str


class Pipeline(asyncio.Protocol):
    """An open connection.  A lost connection is an OSError."""

    def __init__(self, transport: asyncio.Transport, extensions: frozenset[str]) -> None:
        #: The extensions that the server supports, in lower case (RFC 5321, section 4.1.1.1).
        self.extensions = extensions
        self._transport = transport
        self._unsent: list[bytes] = []
        #: Answers that the server still has to send.
        self._unanswered = 0
        self._received = bytearray()
        self._data_arrived = asyncio.Event()

    @classmethod
    async def of(cls, client: aiosmtplib.SMTP) -> Self:
        """Take over the open connection of `client`, which must not use it any more.

        Raises:
            aiosmtplib.SMTPException, OSError: the server does not answer EHLO and HELO.
        """
        if client.is_ehlo_or_helo_needed:
            try:
                await client.ehlo()
            except aiosmtplib.SMTPHeloError:
                if not client.is_connected:
                    raise
                await client.helo()
        transport = cast(asyncio.Transport, client.transport)
        line = cls(transport, frozenset(client.esmtp_extensions))
        transport.set_protocol(line)
        return line

    def send(self, *commands: bytes) -> None:
        """Send commands, each with its line end: together if the server supports PIPELINING,
        otherwise each after the answer to the one before."""
        self._unsent += commands
        self._write()

    async def answer(self, timeout_s: float | None) -> Answer:
        """The answer to the oldest unanswered command; a timeout of None waits forever.

        Raises:
            OSError: the server closed the connection, sent no valid SMTP answer or, as a
                TimeoutError, did not answer in time.
        """
        if not self._unanswered:
            self._write()
        found = _ANSWER.match(self._received)
        if found is None:
            async with asyncio.timeout(timeout_s):
                while (found := _ANSWER.match(self._received)) is None:
                    if self._transport.is_closing():
                        raise ConnectionError(_CONNECTION_CLOSED)
                    self._data_arrived.clear()
                    await self._data_arrived.wait()
        *lines, _ = found[0].decode("utf-8", "surrogateescape").split("\n")
        del self._received[: found.end()]
        self._unanswered -= 1
        code = lines[-1][:3]
        if not (code.isascii() and code.isdigit()):
            raise ConnectionError(f"Not an SMTP answer: {lines[-1]}")
        return Answer(int(code), "\n".join(line[4:].strip() for line in lines))

    async def reset(self, timeout_s: float) -> bool:
        """Abort the e-mail; whether the connection can be used for another one.

        Raises:
            OSError: as for `answer`.
        """
        self._unsent.clear()
        while self._unanswered:
            # The server accepted DATA although it refused the commands before, so it waits for an
            # e-mail.
            if (await self.answer(timeout_s)).code == START_INPUT:
                return False
        self.send(b"RSET\r\n")
        return (await self.answer(timeout_s)).code == COMPLETED

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _write(self) -> None:
        if self._transport.is_closing():
            raise ConnectionError(_CONNECTION_CLOSED)
        if not self._unanswered:
            self._received.clear()  # Unsolicited data.
        count = len(self._unsent) if "pipelining" in self.extensions else 1
        self._transport.write(b"".join(self._unsent[:count]))
        self._unanswered += len(self._unsent[:count])
        del self._unsent[:count]

    # Callbacks of the event loop (asyncio.Protocol)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > ANSWER_BYTES:
            self._transport.abort()
        self._data_arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._data_arrived.set()
