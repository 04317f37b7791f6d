import asyncio
import os
import ssl
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, default
from pathlib import Path

import pytest

from bookstore.notifications.mime import OutgoingEmail
from bookstore.notifications.smtp import (
    FileMailer,
    InDoubt,
    Refused,
    ServerUnavailable,
    SmtpMailer,
    TryLater,
    make_mailer,
    reply_code,
)
from tests.bookstore.notifications.scripted_server import Script
from tests.factories import NOON
from tests.servers.smtp import SmtpSink


def make_email(recipient: str = "mira@example.com", *, number: int = 1) -> OutgoingEmail:
    local, _, domain = recipient.partition("@")
    message = EmailMessage(policy=SMTP)
    message["Message-ID"] = f"<n{number}@books.example>"
    message["Date"] = NOON
    message["From"] = "Ampersand Books <shop@books.example>"
    message["To"] = Address("Mira Sørensen", local, domain)
    message["Subject"] = "We have received your order"
    message.set_content("One line\n.\n..and dots\n", cte="quoted-printable")
    return OutgoingEmail.of(message)


#: Commands one by one, or pipelined.
WITH_AND_WITHOUT_PIPELINING = pytest.mark.parametrize("pipelining", [False, True])


@asynccontextmanager
async def mailer(
    url: str, *, deadline_s: float = 5, command_timeout_s: float = 5
) -> AsyncIterator[SmtpMailer]:
    mailer = SmtpMailer(url, deadline_s=deadline_s, command_timeout_s=command_timeout_s)
    yield mailer
    await mailer.close()


async def test_an_email_arrives_unchanged(smtp_sink: SmtpSink) -> None:
    async with mailer(smtp_sink.url) as client:
        answer = await client.send(make_email())

    (received,) = smtp_sink.received
    assert answer == "250 2.0.0 OK"
    assert (received.sender, received.recipients) == ("shop@books.example", ["mira@example.com"])
    assert received.message["To"] == "Mira Sørensen <mira@example.com>"
    assert received.message.get_content() == "One line\n.\n..and dots\n"


@WITH_AND_WITHOUT_PIPELINING
async def test_emails_share_a_connection(pipelining: bool) -> None:
    async with Script(pipelining=pipelining).running() as server, mailer(server.url) as client:
        for number in range(5):
            await client.send(make_email(number=number))

        assert server.connections == 1


@WITH_AND_WITHOUT_PIPELINING
async def test_at_most_four_connections_are_open(pipelining: bool) -> None:
    async with Script(pipelining=pipelining).running() as server, mailer(server.url) as client:
        await asyncio.gather(*(client.send(make_email(number=number)) for number in range(20)))

        assert server.commands.count(".") == 20
        assert server.connections == 4


@WITH_AND_WITHOUT_PIPELINING
@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "."])
async def test_an_answer_4xx_means_try_later(command: str, pipelining: bool) -> None:
    async with Script({command: "451 4.7.1 Greylisted"}, pipelining=pipelining).running() as server:
        async with mailer(server.url) as client:
            with pytest.raises(TryLater) as caught:
                await client.send(make_email())
            del server.answers[command]
            await client.send(make_email())

        assert caught.value.answer == "451 4.7.1 Greylisted"
        assert server.connections == 1  # The connection is reused.


@WITH_AND_WITHOUT_PIPELINING
@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA", "."])
async def test_an_answer_5xx_means_refused(command: str, pipelining: bool) -> None:
    async with Script(
        {command: "550 5.1.1 Nobody\u2028here"}, pipelining=pipelining
    ).running() as server:
        async with mailer(server.url) as client:
            with pytest.raises(Refused) as caught:
                await client.send(make_email())
            del server.answers[command]
            await client.send(make_email())

        assert caught.value.answer == "550 5.1.1 Nobody here"
        assert server.connections == 1


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
async def test_after_a_refusal_no_email_is_sent_even_if_the_server_accepts_data(
    command: str,
) -> None:
    script = Script({command: "550 5.1.1 Nobody here"}, pipelining=True, accepts_data_anyway=True)
    async with script.running() as server, mailer(server.url) as client:
        with pytest.raises(Refused) as caught:
            await client.send(make_email())
        server.answers.clear()
        await client.send(make_email())

        assert caught.value.answer == "550 5.1.1 Nobody here"
        assert server.commands.count(".") == 1
        assert server.connections == 2  # It would read the next command as the e-mail.


async def test_without_pipelining_each_command_waits_for_its_answer() -> None:
    async with Script({"MAIL": None}).running() as server:
        async with mailer(server.url, command_timeout_s=0.2) as client:
            with pytest.raises(TryLater):
                await client.send(make_email())

        assert server.commands == ["", "EHLO", "MAIL"]


async def test_unsolicited_answers_are_ignored() -> None:
    script = Script({".": "250 OK\r\n550 5.7.1 Spam"})
    async with script.running() as server, mailer(server.url) as client:
        assert await client.send(make_email()) == "250 OK"
        await asyncio.sleep(0.1)
        assert await client.send(make_email()) == "250 OK"


async def test_an_address_with_control_characters_is_refused() -> None:
    async with Script().running() as server, mailer(server.url) as client:
        for address in ("mira@example.com> SIZE=1", "mira@example.com\r\nDATA"):
            with pytest.raises(Refused):
                await client.send(replace(make_email(), recipient=address))

        assert server.connections == 0


@WITH_AND_WITHOUT_PIPELINING
@pytest.mark.parametrize("step", ["", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("answer", ["", None, "421 4.3.2 Going down"])
async def test_a_disconnect_before_the_email_is_sent_means_try_later(
    step: str, answer: str | None, pipelining: bool
) -> None:
    script = Script(
        {step: answer, **({"HELO": answer} if step == "EHLO" else {})}, pipelining=pipelining
    )
    async with script.running() as server, mailer(server.url, command_timeout_s=0.3) as client:
        with pytest.raises(TryLater) as caught:
            await client.send(make_email())
        script.answers.clear()

        # Before MAIL the server would accept no e-mail at all.
        assert (type(caught.value) is ServerUnavailable) == (step in ("", "EHLO"))
        assert await client.send(make_email()) == "250 OK"


async def test_a_server_that_refuses_further_connections_is_not_unavailable() -> None:
    async with Script().running() as server, mailer(server.url) as client:
        await client.send(make_email(number=1))
        server.answers[""] = "421 4.7.0 Too many connections"

        served, turned_away = await asyncio.gather(
            client.send(make_email(number=2)),
            client.send(make_email(number=3)),
            return_exceptions=True,
        )

        assert served == "250 OK"
        assert type(turned_away) is TryLater
        assert await client.send(make_email(number=3)) == "250 OK"


@WITH_AND_WITHOUT_PIPELINING
@pytest.mark.parametrize("answer", ["", None, "nonsense"])
async def test_a_disconnect_after_the_email_is_sent_means_in_doubt(
    answer: str | None, pipelining: bool
) -> None:
    async with (
        Script({".": answer}, pipelining=pipelining).running() as server,
        mailer(server.url, deadline_s=0.8) as client,
    ):
        with pytest.raises(InDoubt):
            await client.send(make_email())
        server.answers.clear()

        assert await client.send(make_email()) == "250 OK"
        assert server.connections == 2


@WITH_AND_WITHOUT_PIPELINING
async def test_a_refusal_counts_even_if_the_server_then_disconnects(pipelining: bool) -> None:
    script = Script({".": "550 Spam", "RSET": ""}, pipelining=pipelining)
    async with script.running() as server, mailer(server.url) as client:
        with pytest.raises(Refused):
            await client.send(make_email())


async def test_the_last_answer_may_be_slow(smtp_sink: SmtpSink) -> None:
    smtp_sink.delay_s = 0.8
    async with mailer(smtp_sink.url, command_timeout_s=0.5) as client:
        await client.send(make_email())

    assert len(smtp_sink.emails) == 1


@WITH_AND_WITHOUT_PIPELINING
@pytest.mark.parametrize("answer", ["", None, "421 4.4.2 You rested too long"])
async def test_broken_idle_connections_are_replaced(answer: str | None, pipelining: bool) -> None:
    async with (
        Script(pipelining=pipelining).running() as server,
        mailer(server.url, command_timeout_s=0.3) as client,
    ):
        await asyncio.gather(*(client.send(make_email(number=number)) for number in range(4)))
        server.answers, server.bad_connections = {"MAIL": answer}, server.connections

        assert await client.send(make_email()) == "250 OK"


async def test_a_server_is_used_again_after_an_outage(smtp_sink: SmtpSink) -> None:
    async with mailer(smtp_sink.url) as client:
        await client.send(make_email(number=1))
        await asyncio.to_thread(smtp_sink.stop)
        with pytest.raises(ServerUnavailable):
            await client.send(make_email(number=2))
        await asyncio.to_thread(smtp_sink.start)
        await client.send(make_email(number=3))

    assert [one["Message-ID"] for one in smtp_sink.emails] == [
        "<n1@books.example>",
        "<n3@books.example>",
    ]


@WITH_AND_WITHOUT_PIPELINING
async def test_a_connection_is_not_reused_after_a_cancelled_email(pipelining: bool) -> None:
    async with Script(pipelining=pipelining).running() as server, mailer(server.url) as client:
        await client.send(make_email())
        server.answers["RCPT"] = None
        sending = asyncio.create_task(client.send(make_email()))
        await asyncio.sleep(0.1)
        assert server.commands[-1] == "RCPT"
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        server.answers.clear()

        assert await client.send(make_email()) == "250 OK"
        assert server.connections == 2


async def test_a_non_ascii_address_needs_a_server_that_supports_it(smtp_sink: SmtpSink) -> None:
    async with mailer(smtp_sink.url) as client:
        await client.send(make_email("søren@example.com"))
    async with Script().running() as server, mailer(server.url) as client:
        with pytest.raises(Refused):
            await client.send(make_email("søren@example.com"))

        assert await client.send(make_email()) == "250 OK"

    assert smtp_sink.received[0].recipients == ["søren@example.com"]


async def test_an_answer_with_invalid_bytes_can_be_stored() -> None:
    async with Script({".": "550 \udcff\udcfe"}).running() as server, mailer(server.url) as client:
        with pytest.raises((Refused, InDoubt)) as caught:
            await client.send(make_email())

    caught.value.answer.encode()


async def test_the_password_is_from_the_url() -> None:
    ehlo = "250-script.test\r\n250 AUTH PLAIN"
    async with Script({"EHLO": ehlo, "AUTH": "535 5.7.8 Wrong"}).running() as server:
        client = SmtpMailer(server.url.replace("//", "//shop%40books:p%2Fw@"))
        with pytest.raises(TryLater) as caught:  # Not a fault of the e-mail.
            await client.send(make_email())
        server.answers["AUTH"] = "235 2.7.0 Welcome"
        await client.send(make_email())
        await client.close()

    credentials = b64encode(b"\0shop@books\0p/w").decode()
    assert caught.value.answer == "535 5.7.8 Wrong"
    assert f"AUTH PLAIN {credentials}" in server.lines


async def test_no_email_is_sent_without_the_required_encryption(
    smtp_sink: SmtpSink,
) -> None:
    async with mailer(smtp_sink.url.replace("smtp:", "smtp+starttls:")) as client:
        with pytest.raises(TryLater):
            await client.send(make_email())

    assert smtp_sink.attempts == 0


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for localhost, with its key in the same file."""
    path = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    command += " -addext subjectAltName=DNS:localhost"
    key_and_certificate = ["-keyout", str(path), "-out", str(path) + ".crt"]
    subprocess.run([*command.split(), *key_and_certificate], check=True, capture_output=True)
    with path.open("a") as file:
        file.write(Path(f"{path}.crt").read_text())
    return path


async def test_emails_are_sent_over_tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    script = Script()
    server = await asyncio.start_server(script.serve, "127.0.0.1", ssl=context)
    url = f"smtps://localhost:{server.sockets[0].getsockname()[1]}"
    async with server:
        async with mailer(url) as client:
            with pytest.raises(TryLater):  # The certificate is not trusted.
                await client.send(make_email())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with mailer(url) as client:
            assert await client.send(make_email()) == "250 OK"


async def test_files_in_the_folder_can_be_parsed(tmp_path: Path) -> None:
    client = make_mailer(f"file:{tmp_path}/new/mail")

    answer = await client.send(make_email())
    await client.close()

    (path,) = (tmp_path / "new" / "mail").iterdir()
    parsed = message_from_bytes(path.read_bytes(), policy=default)
    assert path.name in answer
    assert path.name.startswith("20260321T120000-")
    assert path.suffix == ".eml"
    assert parsed["Subject"] == "We have received your order"
    assert parsed["To"] == "Mira Sørensen <mira@example.com>"


async def test_the_same_email_twice_is_one_file(tmp_path: Path) -> None:
    client = FileMailer(tmp_path)

    await asyncio.gather(*(client.send(make_email(number=1)) for _ in range(5)))
    await client.send(make_email(number=2))

    assert len(os.listdir(tmp_path)) == 2


async def test_a_folder_that_cannot_be_written_means_try_later(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file")

    with pytest.raises(TryLater):
        await FileMailer(tmp_path / "mail").send(make_email())


def test_the_url_selects_the_mailer() -> None:
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
        ("2500 e-mails", None),
        ("", None),
    ],
)
def test_the_reply_code_of_an_answer(answer, code):
    assert reply_code(answer) == code
