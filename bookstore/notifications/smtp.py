"""One letter to the mail server, connections kept; or into a folder, to be read on a laptop."""

import asyncio
import logging
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

from bookstore.database.failpoints import failpoint
from bookstore.notifications.mime import Mail
from bookstore.notifications.smtp_pipelining import Answer, Line

log = logging.getLogger(__name__)

#: For a letter as a whole, the wait for a connection included; shorter than a letter's lease.
DEADLINE_S = 30.0
#: For each answer but the last one: some servers look through the whole letter before it.
COMMAND_S = 10.0
#: At once, and kept afterwards.  Mail servers frown on more from one client.
CONNECTIONS = 4
CLOSING = 421


class _Outcome(Exception):
    """`answer` is what the mail server said, or why it said nothing."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


class TryLater(_Outcome):
    """The letter was not taken this time, and nobody has it."""


class Away(TryLater):
    """Nobody was there to take any letter, so there is no use in trying the next one at once."""


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
        self._kept: list[Line] = []
        #: Connections that a letter is being handed over on.
        self._in_use = 0

    async def send(self, mail: Mail) -> str:
        envelope = _Envelope(mail)
        try:
            async with asyncio.timeout(self._deadline_s), self._turns:
                return await self._send(envelope)
        except _FAULTS as error:
            raise (InDoubt if envelope.gone else TryLater)(_told(error)) from error

    async def close(self) -> None:
        kept, self._kept = self._kept, []
        for line in kept:
            try:
                line.say(b"QUIT\r\n")
                await line.answer(1)
            except OSError as error:
                log.debug("while hanging up: %r", error)
            line.close()

    async def _send(self, envelope: "_Envelope") -> str:
        while self._kept:
            try:
                return await self._hand_over(self._kept.pop(), envelope)
            except _FAULTS:
                if envelope.gone:
                    raise
                # Mail servers hang up on connections that rest, and then on all of them.
                for line in self._kept:
                    line.close()
                self._kept.clear()
        return await self._hand_over(await self._further_line(), envelope)

    async def _further_line(self) -> Line:
        try:
            return await self._connect()
        except _FAULTS as error:
            # One that turns a further connection away may serve those that we have.
            if _answered(error) and (self._kept or self._in_use):
                raise
            raise Away(_told(error)) from error

    async def _connect(self) -> Line:
        client = aiosmtplib.SMTP(
            hostname=self._url.hostname or "localhost",
            port=self._url.port,
            username=_unquoted(self._url.username),
            password=_unquoted(self._url.password),
            use_tls=self._url.scheme == "smtps",
            start_tls=self._url.scheme == "smtp+starttls",
            timeout=self._command_s,
        )
        await client.connect()
        try:
            return await Line.of(client)
        except BaseException:
            client.close()
            raise

    async def _hand_over(self, line: Line, envelope: "_Envelope") -> str:
        # After a timeout or a cancelled task the next answer would be taken for that of another
        # command, so a connection is used again only when all that was said was answered.
        answered = False
        self._in_use += 1
        try:
            answer = await self._transfer(line, envelope)
            answered = True
        except (TryLater, Refused):
            answered = await self._reset(line)
            raise
        finally:
            self._in_use -= 1
            if answered:
                self._kept.append(line)
            else:
                line.close()
        return answer

    async def _transfer(self, line: Line, envelope: "_Envelope") -> str:
        """RFC 5321, section 3.3.  Step by step, to know when the letter is gone."""
        failpoint("M2")
        if envelope.beyond_ascii and "smtputf8" not in line.extensions:
            raise Refused("This mail server takes no addresses beyond ASCII.")
        line.say(*envelope.commands)
        for _ in ("MAIL", "RCPT"):
            _check(await self._answer(line), 2)
        failpoint("M3")
        _check(await self._answer(line), 3)
        failpoint("M4")
        line.say(envelope.content)
        failpoint("M5")
        # From here on nobody can tell how much of it arrived.
        envelope.gone = True
        # Some servers look through the whole letter before they answer: only the deadline
        # ends the wait.
        answer = await line.answer(None)
        envelope.gone = answer.code // 100 not in (4, 5)
        return _check(answer, 2)

    async def _answer(self, line: Line) -> Answer:
        """To a command."""
        answer = await line.answer(self._command_s)
        if answer.code == CLOSING:
            raise ConnectionError(_in_a_line(answer))  # As when a connection rested for too long.
        return answer

    async def _reset(self, line: Line) -> bool:
        try:
            return await line.reset(self._command_s)
        except OSError:
            return False


def code_of(answer: str) -> int | None:
    """The mail server's reply code (RFC 5321, section 4.2); None where there was no reply."""
    found = re.match(r"[2-5][0-9]{2}(?![^ ])", answer)
    return int(found[0]) if found else None


class _Envelope:
    """A letter on its way; `gone` once the mail server may have all of it."""

    def __init__(self, mail: Mail) -> None:
        for address in (mail.sender, mail.recipient):
            if _ENDS_ADDRESS.search(address):
                raise Refused("This is no e-mail address.")
        self.beyond_ascii = not mail.ascii_only
        options = " SMTPUTF8" if self.beyond_ascii else ""
        self.commands = (
            f"MAIL FROM:<{mail.sender}>{options}\r\n".encode(),
            f"RCPT TO:<{mail.recipient}>\r\n".encode(),
            b"DATA\r\n",
        )
        # RFC 5321, section 4.5.2: a line with one dot would end the letter.
        self.content = mail.content.replace(b"\n.", b"\n..") + b".\r\n"
        self.gone = False


_FAULTS = (aiosmtplib.SMTPException, OSError)  # A TimeoutError is an OSError.
#: What would end an address, or the command that it is in.
_ENDS_ADDRESS = re.compile(r"[\x00-\x20\x7f<>]")


def _check(answer: Answer, kind: int) -> str:
    """The answer in a line, when its code begins with `kind` (RFC 5321, section 4.2.1)."""
    told = _in_a_line(answer)
    match answer.code // 100:
        case first if first == kind:
            return told
        case 4:
            raise TryLater(told)
        case 5:
            raise Refused(told)
    raise ConnectionError(told)


def _answered(error: Exception) -> bool:
    """Whether somebody was there when a connection was tried."""
    return isinstance(error, aiosmtplib.SMTPConnectResponseError) or not isinstance(
        error, aiosmtplib.SMTPConnectError
    )


def _in_a_line(answer: Answer) -> str:
    return _readable(f"{answer.code} {answer.text}")


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
