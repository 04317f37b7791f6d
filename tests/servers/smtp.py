"""A mail server in a thread: keeps e-mails, and can refuse, delay or disconnect."""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests import planted
from tests.servers.process import free_port

USER = "bookstore"


@dataclass(frozen=True, slots=True)
class Received:
    """One e-mail, parsed and as received."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    content: bytes


@dataclass
class SmtpSink:
    """The mail server.  Attributes take effect with the next command.

    `answer` is the reply to a complete e-mail: "451 4.3.0 Later" or "550 5.1.1 Nobody here" refuse
    it.  `refused` has replies for single addresses (at RCPT).  `delay_s` passes before each answer.
    With `hang_up` the e-mail is kept and the connection is closed without an answer.
    """

    answer: str = "250 2.0.0 OK"
    refused: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0
    hang_up: bool = False
    #: The port it listens on.
    address: str = "127.0.0.1"
    received: list[Received] = field(default_factory=list)
    #: The number of e-mails received, including refused ones.
    attempts: int = 0

    def __post_init__(self) -> None:
        self.port = free_port()
        self._controller: Controller | None = None
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The value for `BOOKSTORE_SMTP_URL`."""
        return f"smtp://{USER}:{planted.MAIL}@{self.address}:{self.port}"

    @property
    def emails(self) -> list[EmailMessage]:
        return [received.message for received in self.received]

    def start(self) -> None:
        """Listen, always on the same port."""
        self._controller = Controller(
            self,
            hostname=self.address,
            port=self.port,
            server_hostname="sink.test",
            enable_SMTPUTF8=True,
            authenticator=_signed_in,
            # Some tests use a proxy in front, which does not support sign-in.
            auth_require_tls=False,
        )
        self._controller.start()

    def stop(self) -> None:
        """Stop listening; received e-mails stay."""
        if self._controller is not None:
            self._controller.stop(no_assert=True)
            self._controller = None

    def wait_for(self, count: int, timeout_s: float = 10) -> list[EmailMessage]:
        """The e-mails, as soon as there are `count`.  It blocks: use a thread in async tests.

        Raises:
            TimeoutError: there are fewer.
        """
        deadline = time.monotonic() + timeout_s
        with self._news:
            while len(self.received) < count:
                if not self._news.wait(max(0, deadline - time.monotonic())):
                    raise TimeoutError(f"{len(self.received)} e-mails instead of {count}")
        return self.emails

    async def handle_EHLO(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        # The server reads line by line, so pipelined commands are not lost.
        return [*responses[:-1], "250-PIPELINING", responses[-1]]

    async def handle_RCPT(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        rcpt_options: list[str],
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.attempts += 1
        await asyncio.sleep(self.delay_s)
        if self.answer.startswith("2"):
            self._keep(envelope)
        if self.hang_up:
            transport: Any = server.transport
            transport.abort()
        return self.answer

    def _keep(self, envelope: Envelope) -> None:
        content = envelope.original_content or b""
        # Only the wire format uses CRLF.
        message: Any = message_from_bytes(content.replace(b"\r\n", b"\n"), policy=default)
        planted.LEDGER.email(message, "an e-mail")
        received = Received(envelope.mail_from or "", list(envelope.rcpt_tos), message, content)
        with self._news:
            self.received.append(received)
            self._news.notify_all()


def _signed_in(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: object
) -> AuthResult:
    known = LoginPassword(USER.encode(), planted.MAIL.encode())
    return AuthResult(success=given == known)
