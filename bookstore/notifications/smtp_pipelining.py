"""A connection to a mail server: what is said in one go, and what is answered, in order.

aiosmtplib opens it, makes it secret and signs in, but says nothing more before it has its answer.
Most servers take commands ahead of their answers (PIPELINING, RFC 2920): a letter is then two
trips instead of four, and half of the work for both ends.
"""

import asyncio
import re
from typing import NamedTuple, Self, cast

import aiosmtplib

START_INPUT, COMPLETED = 354, 250
#: Longer answers are none.
ANSWER_BYTES = 65_536
#: Lines with a hyphen behind the code, and one without (RFC 5321, section 4.2.1).
_ANSWER = re.compile(rb"(?:[^\n]{3}-[^\n]*\n)*(?![^\n]{3}-)[^\n]*\n")
_HUNG_UP = "It hung up."


class Answer(NamedTuple):
    """What the server said; `text` may have several lines, and any bytes as surrogates."""

    code: int
    text: str


class Line(asyncio.Protocol):
    """An open connection.  When the server is lost, that is an OSError."""

    def __init__(self, transport: asyncio.Transport, extensions: frozenset[str]) -> None:
        #: What the server offers, in lower case (RFC 5321, section 4.1.1.1).
        self.extensions = extensions
        self._transport = transport
        self._unsaid: list[bytes] = []
        #: Answers that are still to come.
        self._owed = 0
        self._heard = bytearray()
        self._news = asyncio.Event()

    @classmethod
    async def of(cls, client: aiosmtplib.SMTP) -> Self:
        """Go on with a connection that is open and signed in; `client` is done with it.

        Raises:
            aiosmtplib.SMTPException, OSError: the server does not greet back.
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

    def say(self, *commands: bytes) -> None:
        """Say each command, with its line end: all in one go to a server that takes that, else
        one after the other's answer."""
        self._unsaid += commands
        self._go_on()

    async def answer(self, timeout_s: float | None) -> Answer:
        """The answer to the first command that has none yet; None waits for ever.

        Raises:
            OSError: the server hung up, talks nonsense or, as a TimeoutError, says nothing.
        """
        if not self._owed:
            self._go_on()
        found = _ANSWER.match(self._heard)
        if found is None:
            async with asyncio.timeout(timeout_s):
                while (found := _ANSWER.match(self._heard)) is None:
                    if self._transport.is_closing():
                        raise ConnectionError(_HUNG_UP)
                    self._news.clear()
                    await self._news.wait()
        *lines, _ = found[0].decode("utf-8", "surrogateescape").split("\n")
        del self._heard[: found.end()]
        self._owed -= 1
        code = lines[-1][:3]
        if not (code.isascii() and code.isdigit()):
            raise ConnectionError(f"That is no answer: {lines[-1]}")
        return Answer(int(code), "\n".join(line[4:].strip() for line in lines))

    async def reset(self, timeout_s: float) -> bool:
        """Forget the letter; whether the connection is good for another one.

        Raises:
            OSError: as for `answer`.
        """
        self._unsaid.clear()
        while self._owed:
            # It took DATA though it had refused what was said before, and waits for a letter.
            if (await self.answer(timeout_s)).code == START_INPUT:
                return False
        self.say(b"RSET\r\n")
        return (await self.answer(timeout_s)).code == COMPLETED

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _go_on(self) -> None:
        if self._transport.is_closing():
            raise ConnectionError(_HUNG_UP)
        if not self._owed:
            self._heard.clear()  # It was not asked.
        count = len(self._unsaid) if "pipelining" in self.extensions else 1
        self._transport.write(b"".join(self._unsaid[:count]))
        self._owed += len(self._unsaid[:count])
        del self._unsaid[:count]

    # What the event loop tells.

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if len(self._heard) > ANSWER_BYTES:
            self._transport.abort()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._news.set()
