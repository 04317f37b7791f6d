"""The test servers behave as the tests expect."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from email.message import EmailMessage

import aiosmtplib
import pymysql
import pytest

from tests.servers.mariadb import MariaDBServer
from tests.servers.smtp import SmtpSink


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDBServer]:
    with MariaDBServer() as server:
        yield server


def test_a_commit_survives_a_kill(server: MariaDBServer) -> None:
    server.client.create_database("books")
    with closing(server.client.connect("books")) as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE books (title VARCHAR(20))")
        cursor.execute("INSERT INTO books VALUES ('Dune')")

    server.kill()
    server.start()
    server.wait()

    with closing(server.client.connect("books")) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT title FROM books")
        assert cursor.fetchall() == (("Dune",),)


def test_a_wiped_server_starts_empty(server: MariaDBServer) -> None:
    server.client.create_database("books")

    server.stop()
    server.wipe()
    server.start()
    server.wait()

    with pytest.raises(pymysql.OperationalError, match="Unknown database"):
        server.client.connect("books")


def test_the_shared_server_is_as_durable_as_by_default(server: MariaDBServer) -> None:
    with closing(server.client.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT @@innodb_flush_log_at_trx_commit, @@collation_server")

        assert cursor.fetchone() == (1, "utf8mb4_unicode_ci")


async def test_an_email_is_kept_as_received(smtp_sink: SmtpSink) -> None:
    await _send(smtp_sink)

    assert smtp_sink.received[0].recipients == ["reader@example.org"]
    assert [email["Subject"] for email in smtp_sink.emails] == ["Grüße"]
    assert smtp_sink.emails[0].get_content() == "Schöne Bücher\n"


@pytest.mark.parametrize("code", [451, 550])
async def test_an_email_is_refused_on_request(smtp_sink: SmtpSink, code: int) -> None:
    smtp_sink.answer = f"{code} 4.3.0 No"

    with pytest.raises(aiosmtplib.SMTPDataError) as refusal:
        await _send(smtp_sink)

    assert refusal.value.code == code
    assert smtp_sink.attempts == 1
    assert smtp_sink.emails == []


async def test_an_address_is_refused_on_request(smtp_sink: SmtpSink) -> None:
    smtp_sink.refused["reader@example.org"] = "550 5.1.1 Nobody here"

    with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
        await _send(smtp_sink)


async def test_a_disconnect_after_the_final_dot_keeps_the_email(smtp_sink: SmtpSink) -> None:
    smtp_sink.hang_up = True

    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await _send(smtp_sink)

    assert len(smtp_sink.emails) == 1


async def test_a_slow_server_exceeds_a_short_timeout(smtp_sink: SmtpSink) -> None:
    smtp_sink.delay_s = 1

    with pytest.raises(aiosmtplib.SMTPTimeoutError):
        await _send(smtp_sink, timeout_s=0.1)


async def test_a_restarted_sink_has_the_same_address(smtp_sink: SmtpSink) -> None:
    smtp_sink.stop()
    with pytest.raises(aiosmtplib.SMTPConnectError):
        await _send(smtp_sink)
    smtp_sink.start()

    await _send(smtp_sink)

    assert len(await asyncio.to_thread(smtp_sink.wait_for, 1)) == 1


async def _send(sink: SmtpSink, timeout_s: float = 5) -> None:
    message = EmailMessage()
    message["From"] = "orders@example.org"
    message["To"] = "reader@example.org"
    message["Subject"] = "Grüße"
    message.set_content("Schöne Bücher\n")
    await aiosmtplib.send(message, hostname="127.0.0.1", port=sink.port, timeout=timeout_s)
