import asyncio
import os
import ssl
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, default
from pathlib import Path

import pytest

from bookstore.notifications.mime import Mail
from bookstore.notifications.smtp import (
    Away,
    FileMailer,
    InDoubt,
    Refused,
    SmtpMailer,
    TryLater,
    code_of,
    make_mailer,
)
from tests.factories import NOON
from tests.servers.smtp import SmtpSink


def letter(recipient: str = "mira@example.com", *, number: int = 1) -> Mail:
    local, _, domain = recipient.partition("@")
    message = EmailMessage(policy=SMTP)
    message["Message-ID"] = f"<n{number}@books.example>"
    message["Date"] = NOON
    message["From"] = "Ampersand Books <shop@books.example>"
    message["To"] = Address("Mira Sørensen", local, domain)
    message["Subject"] = "We have your order"
    message.set_content("One line\n.\n..and dots\n", cte="quoted-printable")
    return Mail.of(message)


#: Commands one by one, or ahead of their answers.
EITHER_WAY = pytest.mark.parametrize("ahead", [False, True])


@asynccontextmanager
async def mailer(
    url: str, *, deadline_s: float = 5, command_s: float = 5
) -> AsyncIterator[SmtpMailer]:
    mailer = SmtpMailer(url, deadline_s=deadline_s, command_s=command_s)
    yield mailer
    await mailer.close()


@dataclass
class Script:
    """A mail server that follows a script, to misbehave where a real one cannot be made to.

    `answers` maps a command, or "." for the whole letter, to its answer; None says nothing, and
    "" hangs up.  What is not in it is answered as it should be.
    """

    answers: dict[str, str | None] = field(default_factory=dict)
    #: Whether it takes commands ahead of their answers.
    ahead: bool = False
    #: Whether it wants a letter though it refused who sends or gets it (RFC 2920, section 3.1).
    eager: bool = False
    #: Connections after this many are answered as they should be.
    bad_connections: int = 1000
    connections: int = 0
    said: list[str] = field(default_factory=list)
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
        usual = {"DATA": "354 Go on", "QUIT": "221 Bye", "": "220 script.test"}
        if self.ahead:
            usual["EHLO"] = "250-script.test\r\n250 PIPELINING"
        command, refused = "", False
        with closing(writer):
            while True:
                answer: str | None = usual.get(command, "250 OK")
                if number <= self.bad_connections:
                    answer = self.answers.get(command, answer)
                if command == "DATA" and refused and not self.eager:
                    answer = "503 5.5.1 Nobody to send it to"
                refused = command in ("MAIL", "RCPT") and (
                    refused or (answer or "").startswith(("4", "5"))
                )
                self.said.append(command)
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


async def test_a_letter_arrives_as_it_was_written(smtp_sink: SmtpSink) -> None:
    async with mailer(smtp_sink.url) as mail:
        answer = await mail.send(letter())

    (received,) = smtp_sink.received
    assert answer == "250 2.0.0 OK"
    assert (received.sender, received.recipients) == ("shop@books.example", ["mira@example.com"])
    assert received.letter["To"] == "Mira Sørensen <mira@example.com>"
    assert received.letter.get_content() == "One line\n.\n..and dots\n"


@EITHER_WAY
async def test_letters_share_a_connection(ahead: bool) -> None:
    async with Script(ahead=ahead).running() as server, mailer(server.url) as mail:
        for number in range(5):
            await mail.send(letter(number=number))

        assert server.connections == 1


@EITHER_WAY
async def test_four_connections_are_enough_for_everybody(ahead: bool) -> None:
    async with Script(ahead=ahead).running() as server, mailer(server.url) as mail:
        await asyncio.gather(*(mail.send(letter(number=number)) for number in range(20)))

        assert server.said.count(".") == 20
        assert server.connections == 4


@EITHER_WAY
@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "."])
async def test_an_answer_of_4xx_means_later(command: str, ahead: bool) -> None:
    async with Script({command: "451 4.7.1 Greylisted"}, ahead=ahead).running() as server:
        async with mailer(server.url) as mail:
            with pytest.raises(TryLater) as caught:
                await mail.send(letter())
            del server.answers[command]
            await mail.send(letter())

        assert caught.value.answer == "451 4.7.1 Greylisted"
        assert server.connections == 1  # The connection is none the worse for it.


@EITHER_WAY
@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "."])
async def test_an_answer_of_5xx_means_never(command: str, ahead: bool) -> None:
    async with Script({command: "550 5.1.1 Nobody\u2028here"}, ahead=ahead).running() as server:
        async with mailer(server.url) as mail:
            with pytest.raises(Refused) as caught:
                await mail.send(letter())
            del server.answers[command]
            await mail.send(letter())

        assert caught.value.answer == "550 5.1.1 Nobody here"
        assert server.connections == 1


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
async def test_a_server_that_refuses_and_yet_wants_the_letter_gets_none(command: str) -> None:
    script = Script({command: "550 5.1.1 Nobody here"}, ahead=True, eager=True)
    async with script.running() as server, mailer(server.url) as mail:
        with pytest.raises(Refused) as caught:
            await mail.send(letter())
        server.answers.clear()
        await mail.send(letter())

        assert caught.value.answer == "550 5.1.1 Nobody here"
        assert server.said.count(".") == 1
        assert server.connections == 2  # It would take the next command for the letter.


async def test_commands_wait_for_their_answers_unless_the_server_takes_them_ahead() -> None:
    async with Script({"MAIL": None}).running() as server:
        async with mailer(server.url, command_s=0.2) as mail:
            with pytest.raises(TryLater):
                await mail.send(letter())

        assert server.said == ["", "EHLO", "MAIL"]


async def test_what_a_server_says_unasked_is_no_answer() -> None:
    script = Script({".": "250 OK\r\n550 5.7.1 Spam"})
    async with script.running() as server, mailer(server.url) as mail:
        assert await mail.send(letter()) == "250 OK"
        await asyncio.sleep(0.1)
        assert await mail.send(letter()) == "250 OK"


async def test_an_address_that_would_end_its_command_is_refused() -> None:
    async with Script().running() as server, mailer(server.url) as mail:
        for address in ("mira@example.com> SIZE=1", "mira@example.com\r\nDATA"):
            with pytest.raises(Refused):
                await mail.send(replace(letter(), recipient=address))

        assert server.connections == 0


@EITHER_WAY
@pytest.mark.parametrize("step", ["", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("answer", ["", None, "421 4.3.2 Going down"])
async def test_a_cut_before_the_letter_is_gone_means_later(
    step: str, answer: str | None, ahead: bool
) -> None:
    script = Script({step: answer, **({"HELO": answer} if step == "EHLO" else {})}, ahead=ahead)
    async with script.running() as server, mailer(server.url, command_s=0.3) as mail:
        with pytest.raises(TryLater) as caught:
            await mail.send(letter())
        script.answers.clear()

        # Before that no letter of any kind would be taken.
        assert (type(caught.value) is Away) == (step in ("", "EHLO"))
        assert await mail.send(letter()) == "250 OK"


async def test_a_server_that_wants_no_further_connections_is_not_away() -> None:
    async with Script().running() as server, mailer(server.url) as mail:
        await mail.send(letter(number=1))
        server.answers[""] = "421 4.7.0 Too many connections"

        served, turned_away = await asyncio.gather(
            mail.send(letter(number=2)), mail.send(letter(number=3)), return_exceptions=True
        )

        assert served == "250 OK"
        assert type(turned_away) is TryLater
        assert await mail.send(letter(number=3)) == "250 OK"


@EITHER_WAY
@pytest.mark.parametrize("answer", ["", None, "nonsense"])
async def test_a_cut_after_the_letter_is_gone_leaves_a_doubt(
    answer: str | None, ahead: bool
) -> None:
    async with (
        Script({".": answer}, ahead=ahead).running() as server,
        mailer(server.url, deadline_s=0.8) as mail,
    ):
        with pytest.raises(InDoubt):
            await mail.send(letter())
        server.answers.clear()

        assert await mail.send(letter()) == "250 OK"
        assert server.connections == 2


@EITHER_WAY
async def test_a_refusal_is_sure_even_if_the_server_hangs_up_then(ahead: bool) -> None:
    script = Script({".": "550 Spam", "RSET": ""}, ahead=ahead)
    async with script.running() as server, mailer(server.url) as mail:
        with pytest.raises(Refused):
            await mail.send(letter())


async def test_a_slow_last_answer_is_waited_for(smtp_sink: SmtpSink) -> None:
    smtp_sink.delay_s = 0.8
    async with mailer(smtp_sink.url, command_s=0.5) as mail:
        await mail.send(letter())

    assert len(smtp_sink.letters) == 1


@EITHER_WAY
@pytest.mark.parametrize("answer", ["", None, "421 4.4.2 You rested too long"])
async def test_connections_that_died_while_they_rested_cost_nothing(
    answer: str | None, ahead: bool
) -> None:
    async with Script(ahead=ahead).running() as server, mailer(server.url, command_s=0.3) as mail:
        await asyncio.gather(*(mail.send(letter(number=number)) for number in range(4)))
        server.answers, server.bad_connections = {"MAIL": answer}, server.connections

        assert await mail.send(letter()) == "250 OK"


async def test_a_server_that_was_away_is_found_again(smtp_sink: SmtpSink) -> None:
    async with mailer(smtp_sink.url) as mail:
        await mail.send(letter(number=1))
        await asyncio.to_thread(smtp_sink.stop)
        with pytest.raises(Away):
            await mail.send(letter(number=2))
        await asyncio.to_thread(smtp_sink.start)
        await mail.send(letter(number=3))

    assert [one["Message-ID"] for one in smtp_sink.letters] == [
        "<n1@books.example>",
        "<n3@books.example>",
    ]


@EITHER_WAY
async def test_a_connection_is_not_used_again_after_a_cancelled_letter(ahead: bool) -> None:
    async with Script(ahead=ahead).running() as server, mailer(server.url) as mail:
        await mail.send(letter())
        server.answers["RCPT"] = None
        sending = asyncio.create_task(mail.send(letter()))
        await asyncio.sleep(0.1)
        assert server.said[-1] == "RCPT"
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        server.answers.clear()

        assert await mail.send(letter()) == "250 OK"
        assert server.connections == 2


async def test_an_address_beyond_ascii_needs_a_server_that_takes_it(smtp_sink: SmtpSink) -> None:
    async with mailer(smtp_sink.url) as mail:
        await mail.send(letter("søren@example.com"))
    async with Script().running() as server, mailer(server.url) as mail:
        with pytest.raises(Refused):
            await mail.send(letter("søren@example.com"))

        assert await mail.send(letter()) == "250 OK"

    assert smtp_sink.received[0].recipients == ["søren@example.com"]


async def test_an_answer_of_strange_bytes_can_be_kept() -> None:
    async with Script({".": "550 \udcff\udcfe"}).running() as server, mailer(server.url) as mail:
        with pytest.raises((Refused, InDoubt)) as caught:
            await mail.send(letter())

    caught.value.answer.encode()


async def test_a_password_comes_from_the_address() -> None:
    ehlo = "250-script.test\r\n250 AUTH PLAIN"
    async with Script({"EHLO": ehlo, "AUTH": "535 5.7.8 Wrong"}).running() as server:
        mail = SmtpMailer(server.url.replace("//", "//shop%40books:p%2Fw@"))
        with pytest.raises(TryLater) as caught:  # Not the letter's fault.
            await mail.send(letter())
        server.answers["AUTH"] = "235 2.7.0 Welcome"
        await mail.send(letter())
        await mail.close()

    credentials = b64encode(b"\0shop@books\0p/w").decode()
    assert caught.value.answer == "535 5.7.8 Wrong"
    assert f"AUTH PLAIN {credentials}" in server.lines


async def test_no_letter_goes_over_a_line_that_should_be_secret_and_is_not(
    smtp_sink: SmtpSink,
) -> None:
    async with mailer(smtp_sink.url.replace("smtp:", "smtp+starttls:")) as mail:
        with pytest.raises(TryLater):
            await mail.send(letter())

    assert smtp_sink.attempts == 0


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that nobody vouches for, its key in the same file."""
    path = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    command += " -addext subjectAltName=DNS:localhost"
    key_and_certificate = ["-keyout", str(path), "-out", str(path) + ".crt"]
    subprocess.run([*command.split(), *key_and_certificate], check=True, capture_output=True)
    with path.open("a") as file:
        file.write(Path(f"{path}.crt").read_text())
    return path


async def test_letters_go_over_tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    script = Script()
    server = await asyncio.start_server(script.serve, "127.0.0.1", ssl=context)
    url = f"smtps://localhost:{server.sockets[0].getsockname()[1]}"
    async with server:
        async with mailer(url) as mail:
            with pytest.raises(TryLater):  # Nobody vouches for this server.
                await mail.send(letter())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with mailer(url) as mail:
            assert await mail.send(letter()) == "250 OK"


async def test_a_folder_holds_letters_that_mail_programs_read(tmp_path: Path) -> None:
    mail = make_mailer(f"file:{tmp_path}/new/mail")

    answer = await mail.send(letter())
    await mail.close()

    (path,) = (tmp_path / "new" / "mail").iterdir()
    parsed = message_from_bytes(path.read_bytes(), policy=default)
    assert path.name in answer
    assert path.name.startswith("20260321T120000-")
    assert path.suffix == ".eml"
    assert parsed["Subject"] == "We have your order"
    assert parsed["To"] == "Mira Sørensen <mira@example.com>"


async def test_the_same_letter_twice_is_one_file(tmp_path: Path) -> None:
    mail = FileMailer(tmp_path)

    await asyncio.gather(*(mail.send(letter(number=1)) for _ in range(5)))
    await mail.send(letter(number=2))

    assert len(os.listdir(tmp_path)) == 2


async def test_a_folder_that_cannot_be_written_means_later(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file")

    with pytest.raises(TryLater):
        await FileMailer(tmp_path / "mail").send(letter())


def test_an_address_says_how_letters_leave() -> None:
    assert isinstance(make_mailer("file:var/mail"), FileMailer)
    assert all(
        isinstance(make_mailer(f"{scheme}://mail.example"), SmtpMailer)
        for scheme in ("smtp", "smtp+starttls", "smtps")
    )


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("250 2.0.0 OK", 250),
        ("550", 550),
        ("451 <mira@example.com>: later", 451),
        ("No answer in time.", None),
        ("Written to 20260101T120000-2501.eml.", None),
        ("2500 letters", None),
        ("", None),
    ],
)
def test_of_an_answer_the_log_gets_the_code_alone(answer, code):
    assert code_of(answer) == code
