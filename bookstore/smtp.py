"""One letter to the mail server, connections kept; or into a folder, to be read on a laptop."""

import asyncio
import os
import re
import tempfile
from collections.abc import Collection
from email.parser import BytesHeaderParser
from email.policy import SMTP
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib

from bookstore.crashpoints import crashpoint
from bookstore.mail import Mail

#: For a letter as a whole, the wait for a connection included; shorter than a letter's lease.
DEADLINE_S = 30.0
#: For each answer but the last one: some servers look through the whole letter before it.
COMMAND_S = 10.0
#: At once, and kept afterwards.  Mail servers frown on more from one client.
CONNECTIONS = 4
START_INPUT, COMPLETED, CLOSING = 354, 250, 421


class _Outcome(Exception):
    """`answer` is what the mail server said, or why it said nothing."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


class TryLater(_Outcome):
    """The letter was not taken this time, and nobody has it."""


class Away(TryLater):
    """Nobody was there to take it, so there is no use in trying the next one at once."""


class Refused(_Outcome):
    """The letter will never be taken."""


class InDoubt(_Outcome):
    """The mail server has the whole letter and did not answer: it may have taken it."""


class Mailer(Protocol):
    """A way for letters to leave."""

    async def send(self, mail: Mail) -> str:
        """What the one who took the letter said.

        Raises:
            TryLater: it was not taken this time.
            Away: there was nobody to take any.
            Refused: it never will be.
            InDoubt: nobody knows.
        """

    async def close(self) -> None:
        """Hang up."""


def make_mailer(url: str) -> Mailer:
    """The way that `url` says: file:FOLDER, smtp://, smtp+starttls:// or smtps://."""
    scheme, _, folder = url.partition(":")
    return FileMailer(Path(folder)) if scheme == "file" else SmtpMailer(url)


async def shred(url: str, recipients: Collection[str]) -> None:
    """Delete the letters to these addresses from the folder of `url`, if it is one.

    What a mail server took lies in mailboxes that are not ours.
    """
    scheme, _, folder = url.partition(":")
    if scheme == "file":
        await asyncio.to_thread(_shred, Path(folder), {it.casefold() for it in recipients})


class FileMailer:
    """Puts letters into a folder, one file each; a letter that comes twice is one file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, mail: Mail) -> str:
        written = mail.written_at.strftime("%Y%m%dT%H%M%S")
        letter = sha256(mail.message_id.encode()).hexdigest()[:12]
        path = self._folder / f"{written}-{letter}.eml"
        try:
            await asyncio.to_thread(_write, path, mail.content)
        except OSError as error:
            raise TryLater(f"Not written: {error.strerror}.") from error
        return f"Written to {path.name}."

    async def close(self) -> None:
        """There is nothing to hang up."""


def _shred(folder: Path, recipients: Collection[str]) -> None:
    reader = BytesHeaderParser(policy=SMTP)
    for path in folder.glob("*.eml"):
        with path.open("rb") as file:
            to = reader.parse(file)["To"]
        if to is not None and any(it.addr_spec.casefold() in recipients for it in to.addresses):
            path.unlink(missing_ok=True)


class SmtpMailer:
    """Gives letters to a mail server, over a few connections that it keeps."""

    def __init__(
        self, url: str, *, deadline_s: float = DEADLINE_S, command_s: float = COMMAND_S
    ) -> None:
        self._url = urlsplit(url)
        self._deadline_s = deadline_s
        self._command_s = command_s
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._kept: list[aiosmtplib.SMTP] = []

    async def send(self, mail: Mail) -> str:
        envelope = _Envelope(mail)
        try:
            async with asyncio.timeout(self._deadline_s), self._turns:
                return await self._send(envelope)
        except _FAULTS as error:
            raise (InDoubt if envelope.gone else TryLater)(_told(error)) from error

    async def close(self) -> None:
        kept, self._kept = self._kept, []
        for client in kept:
            try:
                await client.quit(timeout=1)
            except _FAULTS:
                client.close()

    async def _send(self, envelope: "_Envelope") -> str:
        while self._kept:
            try:
                return await self._hand_over(self._kept.pop(), envelope)
            except _FAULTS:
                if envelope.gone:
                    raise
                # Mail servers hang up on connections that rest, and then on all of them.
                for client in self._kept:
                    client.close()
                self._kept.clear()
        return await self._hand_over(await self._connect(), envelope)

    async def _connect(self) -> aiosmtplib.SMTP:
        client = aiosmtplib.SMTP(
            hostname=self._url.hostname or "localhost",
            port=self._url.port,
            username=_unquoted(self._url.username),
            password=_unquoted(self._url.password),
            use_tls=self._url.scheme == "smtps",
            start_tls=self._url.scheme == "smtp+starttls",
            timeout=self._command_s,
        )
        try:
            await client.connect()
        except aiosmtplib.SMTPConnectResponseError:
            raise  # Somebody is there, and may serve the connections that we have.
        except aiosmtplib.SMTPConnectError as error:
            raise Away(_told(error)) from error
        return client

    async def _hand_over(self, client: aiosmtplib.SMTP, envelope: "_Envelope") -> str:
        # After a timeout or a cancelled task the next answer would be taken for that of another
        # command, so a connection is used again only when all that was said was answered.
        answered = False
        try:
            answer = await self._transfer(client, envelope)
            answered = True
        except (TryLater, Refused):
            answered = await _reset(client)
            raise
        finally:
            if answered:
                self._kept.append(client)
            else:
                client.close()
        return answer

    async def _transfer(self, client: aiosmtplib.SMTP, envelope: "_Envelope") -> str:
        """RFC 5321, section 3.3.  Step by step, to know when the letter is gone."""
        crashpoint("M2")
        options = []
        if envelope.encoding == "utf-8":
            await client.ehlo()
            if not client.supports_extension("smtputf8"):
                raise Refused("This mail server takes no addresses beyond ASCII.")
            options = ["SMTPUTF8"]
        try:
            await client.mail(envelope.sender, options=options, encoding=envelope.encoding)
            await client.rcpt(envelope.recipient, encoding=envelope.encoding)
            crashpoint("M3")
            _expect(START_INPUT, await client.execute_command(b"DATA"))
            assert client.protocol is not None
            crashpoint("M4")
            client.protocol.write(envelope.content)
            crashpoint("M5")
            # From here on nobody can tell how much of it arrived.
            envelope.gone = True
            # Some servers look through the whole letter before they answer: only the deadline
            # ends the wait.
            answer = _expect(COMPLETED, await client.protocol.read_response())
        except aiosmtplib.SMTPResponseException as error:
            if error.code == CLOSING and not envelope.gone:
                raise  # It says so when a connection rested for too long.
            envelope.gone = envelope.gone and not 400 <= error.code < 600
            if 400 <= error.code < 500:
                raise TryLater(_told(error)) from error
            if 500 <= error.code < 600:
                raise Refused(_told(error)) from error
            raise
        return f"{answer.code} {_readable(answer.message)}"


def code_of(answer: str) -> int | None:
    """The mail server's reply code (RFC 5321, section 4.2); None where there was no reply."""
    found = re.match(r"[2-5][0-9]{2}(?![^ ])", answer)
    return int(found[0]) if found else None


class _Envelope:
    """A letter on its way; `gone` once the mail server may have all of it."""

    def __init__(self, mail: Mail) -> None:
        self.sender = mail.sender
        self.recipient = mail.recipient
        self.encoding = "ascii" if mail.ascii_only else "utf-8"
        # RFC 5321, section 4.5.2: a line with one dot would end the letter.
        self.content = re.sub(rb"(?m)^\.", b"..", mail.content) + b".\r\n"
        self.gone = False


_FAULTS = (aiosmtplib.SMTPException, OSError)  # A TimeoutError is an OSError.


def _expect(code: int, answer: aiosmtplib.SMTPResponse) -> aiosmtplib.SMTPResponse:
    if answer.code != code:
        raise aiosmtplib.SMTPResponseException(answer.code, answer.message)
    return answer


async def _reset(client: aiosmtplib.SMTP) -> bool:
    """Whether the connection is good for another letter."""
    try:
        await client.rset()
    except _FAULTS:
        return False
    return True


def _told(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {_readable(error.message)}"
    if isinstance(error, TimeoutError):
        return _readable(str(error)) or "No answer in time."
    return _readable(str(error)) or type(error).__name__


def _readable(text: str) -> str:
    """What a mail server said, in one line; it may be bytes of any kind."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _unquoted(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _write(path: Path, content: bytes) -> None:
    """The whole file or none of it, and on the disk once this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
