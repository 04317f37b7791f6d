"""Sends e-mails to the mail server over pooled connections, or writes them to a local folder."""

import asyncio
import logging
import os
import re
import tempfile
from collections.abc import Collection
from contextlib import suppress
from email.parser import BytesHeaderParser
from email.policy import SMTP
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib

from bookstore.database.failpoints import failpoint
from bookstore.notifications.mime import OutgoingEmail
from bookstore.notifications.smtp_pipelining import Answer, Pipeline

log = logging.getLogger(__name__)

#: For one e-mail, including the wait for a connection; shorter than the lease of an e-mail.
DEADLINE_S = 30.0
#: For each answer but the last one: some servers scan the whole e-mail before they answer.
COMMAND_TIMEOUT_S = 10.0
#: Open at the same time; idle ones are reused.  Mail servers limit the connections of one client.
MAX_CONNECTIONS = 4
#: The server closes the connection (RFC 5321, section 4.2.3).
SERVICE_CLOSING = 421


class _DeliveryError(Exception):
    """`answer` is the mail server's answer, or why there is none."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.answer = answer


class TryLater(_DeliveryError):
    """The e-mail was not accepted this time; it was certainly not delivered."""


class ServerUnavailable(TryLater):
    """The mail server accepts no e-mails at all now, so trying the next one at once is useless."""


class Refused(_DeliveryError):
    """The mail server rejected the e-mail permanently."""


class InDoubt(_DeliveryError):
    """The mail server received the whole e-mail and did not answer: it may have accepted it."""


class Mailer(Protocol):
    """A way to send e-mails."""

    async def send(self, email: OutgoingEmail) -> str:
        """Send an e-mail; returns the answer of the server that accepted it.

        Raises:
            TryLater: it was not accepted this time.
            ServerUnavailable: the server accepts no e-mails at all now.
            Refused: it was rejected permanently.
            InDoubt: it is unknown whether it was accepted.
        """

    async def close(self) -> None:
        """Close the connections."""


def make_mailer(url: str) -> Mailer:
    """The mailer for `url`: file:FOLDER, smtp://, smtp+starttls:// or smtps://."""
    scheme, _, folder = url.partition(":")
    return FileMailer(Path(folder)) if scheme == "file" else SmtpMailer(url)


async def delete_emails(url: str, recipients: Collection[str]) -> None:
    """Delete the e-mails to these addresses from the folder, if `url` is a file: URL.

    E-mails that a mail server accepted are in mailboxes that we cannot change.
    """
    scheme, _, folder = url.partition(":")
    if scheme == "file":
        await asyncio.to_thread(_delete_emails, Path(folder), {it.casefold() for it in recipients})


class FileMailer:
    """Writes each e-mail to a file in a folder; an e-mail that is sent twice is one file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, email: OutgoingEmail) -> str:
        written = email.written_at.strftime("%Y%m%dT%H%M%S")
        digest = sha256(email.message_id.encode()).hexdigest()[:12]
        path = self._folder / f"{written}-{digest}.eml"
        try:
            await asyncio.to_thread(_write, path, email.content)
        except OSError as error:
            raise TryLater(f"Not written: {error.strerror}.") from error
        return f"Written to {path.name}."

    async def close(self) -> None:
        """Nothing is open."""


def _delete_emails(folder: Path, recipients: Collection[str]) -> None:
    reader = BytesHeaderParser(policy=SMTP)
    for path in folder.glob("*.eml"):
        with path.open("rb") as file:
            to = reader.parse(file)["To"]
        if to is not None and any(it.addr_spec.casefold() in recipients for it in to.addresses):
            path.unlink(missing_ok=True)


class SmtpMailer:
    """Sends e-mails to a mail server over a few pooled connections."""

    def __init__(
        self,
        url: str,
        *,
        deadline_s: float = DEADLINE_S,
        command_timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> None:
        self._url = urlsplit(url)
        self._deadline_s = deadline_s
        self._command_timeout_s = command_timeout_s
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._idle: list[Pipeline] = []
        #: Connections that are sending an e-mail.
        self._in_use = 0

    async def send(self, email: OutgoingEmail) -> str:
        envelope = _Envelope(email)
        try:
            async with asyncio.timeout(self._deadline_s), self._slots:
                return await self._send(envelope)
        except _ERRORS as error:
            raise (InDoubt if envelope.fully_sent else TryLater)(_describe(error)) from error

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for line in idle:
            try:
                line.send(b"QUIT\r\n")
                await line.answer(1)
            except OSError as error:
                log.debug("while closing the connection: %r", error)
            line.close()

    async def _send(self, envelope: "_Envelope") -> str:
        while self._idle:
            try:
                return await self._send_over(self._idle.pop(), envelope)
            except _ERRORS:
                if envelope.fully_sent:
                    raise
                # Mail servers close idle connections, and then usually all of them.
                for line in self._idle:
                    line.close()
                self._idle.clear()
        return await self._send_over(await self._new_connection(), envelope)

    async def _new_connection(self) -> Pipeline:
        try:
            return await self._connect()
        except _ERRORS as error:
            # A server that refuses a further connection may still serve the existing ones.
            if _server_answered(error) and (self._idle or self._in_use):
                raise
            raise ServerUnavailable(_describe(error)) from error

    async def _connect(self) -> Pipeline:
        client = aiosmtplib.SMTP(
            hostname=self._url.hostname or "localhost",
            port=self._url.port,
            username=_unquoted(self._url.username),
            password=_unquoted(self._url.password),
            use_tls=self._url.scheme == "smtps",
            start_tls=self._url.scheme == "smtp+starttls",
            timeout=self._command_timeout_s,
        )
        await client.connect()
        try:
            return await Pipeline.of(client)
        except BaseException:
            client.close()
            raise

    async def _send_over(self, line: Pipeline, envelope: "_Envelope") -> str:
        # After a timeout or a cancelled task, a late answer would be read as the answer to another
        # command.  So a connection is reused only if every command was answered.
        answered = False
        self._in_use += 1
        try:
            answer = await self._transfer(line, envelope)
            answered = True
        except (TryLater, Refused):
            with suppress(OSError):
                answered = await line.reset(self._command_timeout_s)
            raise
        finally:
            self._in_use -= 1
            if answered:
                self._idle.append(line)
            else:
                line.close()
        return answer

    async def _transfer(self, line: Pipeline, envelope: "_Envelope") -> str:
        """RFC 5321, section 3.3.  Step by step, to know when the e-mail may have been delivered."""
        failpoint("M2")
        if envelope.non_ascii and "smtputf8" not in line.extensions:
            raise Refused("This mail server does not support non-ASCII addresses.")
        line.send(*envelope.commands)
        for _ in ("MAIL", "RCPT"):
            _check(await self._answer(line), 2)
        failpoint("M3")
        _check(await self._answer(line), 3)
        failpoint("M4")
        line.send(envelope.content)
        failpoint("M5")
        # From here on it is unknown how much of it arrived.
        envelope.fully_sent = True
        # Some servers scan the whole e-mail before they answer, so only the deadline limits the
        # wait.
        answer = await line.answer(None)
        envelope.fully_sent = answer.code // 100 not in (4, 5)
        return _check(answer, 2)

    async def _answer(self, line: Pipeline) -> Answer:
        """The answer to a command."""
        answer = await line.answer(self._command_timeout_s)
        if answer.code == SERVICE_CLOSING:
            raise ConnectionError(_one_line(answer))  # As after an idle timeout.
        return answer


def reply_code(answer: str) -> int | None:
    """The mail server's reply code (RFC 5321, section 4.2); None if there was no reply."""
    found = re.match(r"[2-5][0-9]{2}(?![^ ])", answer)
    return int(found[0]) if found else None


class _Envelope:
    """An e-mail being sent; `fully_sent` once the mail server may have all of it."""

    def __init__(self, email: OutgoingEmail) -> None:
        for address in (email.sender, email.recipient):
            if _UNSAFE_IN_ADDRESS.search(address):
                raise Refused("Not a valid e-mail address.")
        self.non_ascii = not email.ascii_only
        options = " SMTPUTF8" if self.non_ascii else ""
        self.commands = (
            f"MAIL FROM:<{email.sender}>{options}\r\n".encode(),
            f"RCPT TO:<{email.recipient}>\r\n".encode(),
            b"DATA\r\n",
        )
        # RFC 5321, section 4.5.2: a line with a single dot would end the e-mail.
        self.content = email.content.replace(b"\n.", b"\n..") + b".\r\n"
        self.fully_sent = False


_ERRORS = (aiosmtplib.SMTPException, OSError)  # A TimeoutError is an OSError.
#: Characters that would end an address, or the command that contains it.
_UNSAFE_IN_ADDRESS = re.compile(r"[\x00-\x20\x7f<>]")


def _check(answer: Answer, kind: int) -> str:
    """The answer in one line, if its code begins with `kind` (RFC 5321, section 4.2.1)."""
    text = _one_line(answer)
    match answer.code // 100:
        case first if first == kind:
            return text
        case 4:
            raise TryLater(text)
        case 5:
            raise Refused(text)
    raise ConnectionError(text)


def _server_answered(error: Exception) -> bool:
    """Whether a server answered the connection attempt."""
    return isinstance(error, aiosmtplib.SMTPConnectResponseError) or not isinstance(
        error, aiosmtplib.SMTPConnectError
    )


def _one_line(answer: Answer) -> str:
    return _readable(f"{answer.code} {answer.text}")


def _describe(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {_readable(error.message)}"
    if isinstance(error, TimeoutError):
        return _readable(str(error)) or "No answer in time."
    return _readable(str(error)) or type(error).__name__


def _readable(text: str) -> str:
    """A mail server's text in one line; it may contain any bytes."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _unquoted(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _write(path: Path, content: bytes) -> None:
    """Write the file atomically; it is on the disk when this returns."""
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
